"""A federation whose sites send their changes in bfloat16, over tiny hospitals."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from fednnunet.commands import train
from fednnunet.federation.coordinator.history import load_records
from fednnunet.federation.site import ledger
from tests.end_to_end.tiny import TOML, make_federation, make_planned, no_pictures


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("filters")
    toml = TOML.replace("public_rounds = 1", 'public_rounds = 1\nfilters = ["delta_bfloat16"]')
    make_planned(make_federation(root, toml=toml), root / "run")
    with no_pictures():
        assert train.main([str(root / "run")]) == 0
    return root / "run"


def test_it_trains_in_every_phase_for_half_the_bytes(run):
    records = load_records(run / "rounds")
    assert [record.phase for record in records] == ["joint", "joint", "public"]
    assert not any(record.refused for record in records)
    north = records[0].sites["north"]
    assert north.bytes_from_site < 0.6 * north.bytes_to_site
    (bundle,) = (run / "global").rglob("*.safetensors")
    weights = load_file(bundle).values()
    assert all(torch.isfinite(tensor).all() for tensor in weights)
    assert {tensor.dtype for tensor in weights} == {torch.float32}


def test_the_ledger_names_the_filters(run):
    entries = ledger.read(run / "sites" / "north" / "ledger.jsonl")
    details = [entry["detail"] for entry in entries if entry["message"] == "TrainReply"]
    assert len(details) == 3 and all("in bfloat16" in detail for detail in details)
