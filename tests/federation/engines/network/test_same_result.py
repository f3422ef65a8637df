"""With NVFlare and TLS between processes: the same weights as in one process, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fednnunet import records
from fednnunet.federation.wire import chain
from fednnunet.federation.workflows.train import SCORES, TrainingScores
from tests.end_to_end.tiny import SPACINGS
from tests.federation.engines.network.conftest import train_reference

pytestmark = [pytest.mark.network, pytest.mark.timeout(900)]


def test_network_gives_the_weights_of_one_process(tiny_network: Any, tmp_path: Path) -> None:
    reference, run = train_reference(tmp_path), tmp_path / "run"
    tiny_network.start_coordinator(run)
    for site in SPACINGS:
        tiny_network.start_site(site, "--once")
    assert tiny_network.wait("coordinator", 600) == 0, tiny_network.tail("coordinator")
    for site in SPACINGS:
        assert tiny_network.wait(site, 60) == 0, tiny_network.tail(site)
    compared = sorted(reference.glob("rounds/*.safetensors"))
    compared += [reference / "global" / "weights.safetensors"]
    assert len(compared) >= 3
    for path in compared:
        other = run / path.relative_to(reference)
        assert other.read_bytes() == path.read_bytes(), path.name
    found, expected = (records.read(TrainingScores, f / SCORES) for f in (run, reference))
    assert found.models == expected.models
    for site in SPACINGS:
        entries = chain.read(tiny_network.work(site) / chain.FILE)
        assert not [entry for entry in entries if entry.get("fault")]
        assert len(entries) >= 2
