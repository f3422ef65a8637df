"""A federation of tiny volumes on a network of this machine."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from fednnunet.commands import train
from tests.end_to_end.tiny import (
    POLICY,
    SPACINGS,
    TOML,
    make_federation,
    make_planned,
    plain_pages,
)

METHOD = "fedbn_head"


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Sites train with one thread, and sums of several threads differ in their last bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def local_network(script: Callable[[str], ModuleType]) -> ModuleType:
    """`scripts/local_network.py`, where NVFlare is installed."""
    reason = "NVFlare is not installed: pip install 'fednnunet[network]'"
    pytest.importorskip("nvflare", reason=reason)
    return script("local_network")


@pytest.fixture
def tiny_network(local_network: ModuleType, tmp_path: Path) -> Iterator[Any]:
    """Kits of three sites with tiny volumes, and in `tmp_path/run` a plan for them."""
    network = make_network(local_network, tmp_path)
    yield network
    network.close()


def make_network(local_network: ModuleType, root: Path, *, toml: str = TOML) -> Any:
    """The federation of `toml`, planned in `root/reference`, with its plan in `root/run`.

    The site `north` has made its private key itself.
    """
    embedded = make_federation(root / "data", toml=toml)
    for site in SPACINGS:
        text = local_network.allow_everything(POLICY, (METHOD,))
        (root / "data" / site / "site.toml").write_text(text)
    make_planned(embedded, root / "reference")
    (root / "run").mkdir()
    shutil.copy(root / "reference" / "plan.json", root / "run")
    path = root / "federation.toml"
    path.write_text(local_network.network_toml(toml, local_network.free_port()))
    network = local_network.LocalNetwork(
        root=root, federation=path, data={site: root / "data" / site for site in SPACINGS}
    )
    network.provision(own_key="north")
    return network


def train_reference(root: Path) -> Path:
    """Train the same federation in this process; returns its run folder."""
    with plain_pages():
        assert train.main([str(root / "reference")]) == 0
    return root / "reference"
