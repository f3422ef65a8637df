"""What many tests share."""

from __future__ import annotations

import gc
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import settings

from fednnunet import cores
from fednnunet.cores import Cores

# Before torch is imported, here and in what the tests start: tiny tensors are slower on many
# threads than on one, and workers side by side would take each other's cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same examples in every run, and no clock: a busy machine is no fault of the code.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")

ROOT = Path(__file__).resolve().parents[1]
MAX_WORKERS = 8  # each imports torch and holds its own copy of it


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Workers of `pytest -n auto`: one for each core that this process may use, at most 8."""
    return min(MAX_WORKERS, cores.look(seconds=0).allowed)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Name the tests that stay in one worker, for `pytest --dist loadgroup`."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(group_of(item)))


def pytest_collection_finish() -> None:
    """Look for no garbage in what is imported: each time that takes long and finds nothing."""
    gc.collect()
    gc.freeze()


def group_of(item: pytest.Item) -> str:
    """What a test must run beside: its module, as a rule.

    Tests of the network choose free ports, and those of a trained federation share one that takes
    long to make: all of either kind are one group. A method's contracts share its rounds, and not
    those of other methods.
    """
    module = item.nodeid.partition("::")[0]
    if module.startswith("tests/federation/engines/network/"):
        return "network"
    used = getattr(item, "fixturenames", ())
    if module.startswith("tests/end_to_end/") and ("planned" in used or "trained" in used):
        return "end_to_end"
    method = getattr(item, "callspec", None) and item.callspec.params.get("method")
    if module.startswith("tests/contracts/") and isinstance(method, str):
        return f"{module} {method}"
    return module


@pytest.fixture(scope="session", autouse=True)
def _no_waiting() -> Iterator[None]:
    """Wait neither for the disk nor for a measurement of the cores.

    Each file that is replaced waits twice for the disk, which takes longer than most tests
    together, and matters only where the power fails. Each training measures for half a second how
    many cores are free, and would depend on what else the machine does.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        patch.setattr(cores, "look", lambda: Cores(present=1))
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real volumes beside the project; the test is skipped where it is absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"real volumes are not here ({folder})")
    return folder


@pytest.fixture(scope="session")
def golden_folder() -> Path:
    """Plans that nnU-Net v2 itself made; the test is skipped where they are absent."""
    folder = ROOT.parent / "shared" / "golden"
    if not folder.is_dir():
        pytest.skip(f"nnU-Net's own plans are not here ({folder})")
    return folder


@pytest.fixture(scope="session")
def script() -> Callable[[str], ModuleType]:
    """Load a program of `scripts/` as a module, by its name."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
        if spec is None or spec.loader is None:
            raise FileNotFoundError(name)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def phantoms(script: Callable[[str], ModuleType]) -> ModuleType:
    """`scripts/make_phantoms.py`: hospitals, `make_case`, `make_federation`."""
    return script("make_phantoms")
