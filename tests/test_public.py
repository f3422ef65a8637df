"""The public names: what `import fednnunet` loads, and what other packages may add."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import fednnunet
from fednnunet import plugins

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "own_method"


def _python(code: str, *paths: Path) -> str:
    """What a fresh Python prints."""
    path = os.pathsep.join(map(str, (ROOT, *paths)))
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_loads_no_library() -> None:
    heavy = "{'torch', 'numpy', 'scipy', 'SimpleITK', 'nibabel', 'matplotlib', 'rich'}"
    out = _python(f"import sys, fednnunet; print(sorted({heavy} & set(sys.modules)))")
    assert out.strip() == "[]"


def test_every_public_name_is_there() -> None:
    for name in fednnunet.__all__:
        assert getattr(fednnunet, name)
    assert set(fednnunet.__all__) <= set(dir(fednnunet))
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = fednnunet.trian


def test_the_version_is_that_of_the_package() -> None:
    assert fednnunet.__version__ == version("fednnunet")
    assert (ROOT / "fednnunet" / "py.typed").is_file()


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The example package as pip would install it: the module and its entry points."""
    (tmp_path / "own_method.py").write_text((EXAMPLE / "own_method.py").read_text())
    text = (EXAMPLE / "pyproject.toml").read_text()
    info = tmp_path / "own_method-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-method\nVersion: 0.1.0\n")
    assert 'mostly_shared = "own_method:MostlyShared"' in text
    assert 'gentle = "own_method:GENTLE"' in text
    (info / "entry_points.txt").write_text(
        "[fednnunet.methods]\nmostly_shared = own_method:MostlyShared\n"
        "[fednnunet.recipes]\ngentle = own_method:GENTLE\n"
    )
    return tmp_path


FEDERATION = """
import fednnunet.training.trainer  # whatever is imported first
from fednnunet import records
from fednnunet.federation.spec import Federation
task = {"name": "t", "channels": ["CT"], "labels": ["background", "liver"]}
training = {"recipe": "gentle", "method": {"name": "mostly_shared", "weight": 0.5}}
data = {"task": task, "sites": {"a": {"folder": "a"}}, "training": training}
federation = records.decode(Federation, data)
method = federation.training.method
print(method.tag, method.weight, federation.training.recipe)
print(records.decode(Federation, records.encode(federation)) == federation)
"""


def test_an_installed_package_adds_a_method_and_a_recipe(installed: Path) -> None:
    assert _python(FEDERATION, installed).split() == ["mostly_shared", "0.5", "gentle", "True"]


def test_a_broken_package_gives_a_warning(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (installed / "own_method.py").write_text("raise RuntimeError('not today')")
    monkeypatch.syspath_prepend(installed)
    with pytest.warns(RuntimeWarning, match="MostlyShared .* cannot be used: .*not today"):
        assert not list(plugins.declared(plugins.METHODS))
