"""NVFlare's program is started for a role, with the name that the kit gives, and TLS on."""

from __future__ import annotations

import queue
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("nvflare", reason="pip install 'fednnunet[network]'")

from nvflare.private.fed.app.client import client_train
from nvflare.private.fed.app.server import server_train

from fednnunet import records
from fednnunet.errors import InputError
from fednnunet.federation.engines.network.flare import node
from fednnunet.federation.engines.network.kit import FILE, Kit


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Callable[..., Any], Namespace]]:
    """What NVFlare's programs are started with, in their place."""
    found: list[tuple[Callable[..., Any], Namespace]] = []

    def run(*, main_func: Callable[..., Any], run_dir: str, args: Namespace) -> None:
        assert Path(run_dir) == Path(args.workspace)
        found.append((main_func, args))

    monkeypatch.setattr(node, "end_with_parent", queue.Queue)
    monkeypatch.setattr(node.MainProcessMonitor, "run", run)
    return found


def test_a_site_has_the_name_of_its_kit(
    started: list[tuple[Callable[..., Any], Namespace]], tmp_path: Path
) -> None:
    records.write(
        Kit(role="site", name="north", federation="0" * 64, host="localhost", port=8102),
        tmp_path / FILE,
    )
    assert node.main(["site", str(tmp_path)]) == 0
    ((program, options),) = started
    assert program is client_train.main
    assert options.fed_client == "fed_client.json" and options.local_rank == 0
    assert {"uid=north", "secure_train=true"} <= set(options.set)
    assert (tmp_path / "transfer").is_dir()


def test_a_coordinator_needs_no_name(
    started: list[tuple[Callable[..., Any], Namespace]], tmp_path: Path
) -> None:
    assert node.main(["coordinator", str(tmp_path)]) == 0
    ((program, options),) = started
    assert program is server_train.main
    assert options.fed_server == "fed_server.json"
    assert "secure_train=true" in options.set
    assert not [setting for setting in options.set if setting.startswith("uid=")]


def test_a_folder_that_is_no_kit_starts_nothing(
    started: list[tuple[Callable[..., Any], Namespace]], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="no start-up kit"):
        node.main(["site", str(tmp_path)])
    assert not started
