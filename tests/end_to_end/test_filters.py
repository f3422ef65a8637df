"""A federation whose sites send their changes in fewer bytes, over tiny hospitals."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from fednnunet.commands import train
from fednnunet.federation.coordinator.history import load_records
from fednnunet.federation.wire import chain
from tests.end_to_end.tiny import TOML, make_federation, make_planned, no_pictures

FILTERS = {
    '"delta_bfloat16"': (0.6, "in bfloat16"),
    '{name = "quantised", bits = 4}': (0.3, "in 4 bits"),
    '{name = "top_k", share = 0.01}': (0.2, "the largest 0.01"),
}
"""By entry of the file: the share of the bytes that is left, and the words of the ledger."""


@pytest.fixture(scope="module", params=FILTERS)
def entry(request):
    return request.param


@pytest.fixture(scope="module")
def run(tmp_path_factory, entry):
    root = tmp_path_factory.mktemp("filters")
    toml = TOML.replace("public_rounds = 1", f"public_rounds = 1\nfilters = [{entry}]")
    make_planned(make_federation(root, toml=toml), root / "run")
    with no_pictures():
        assert train.main([str(root / "run")]) == 0
    return root / "run"


def test_it_trains_in_every_phase_for_fewer_bytes(run, entry):
    records = load_records(run / "rounds")
    assert [record.phase for record in records] == ["joint", "joint", "public"]
    assert not any(record.refused for record in records)
    north = records[0].sites["north"]
    assert north.bytes_from_site < FILTERS[entry][0] * north.bytes_to_site
    (bundle,) = (run / "global").rglob("*.safetensors")
    weights = load_file(bundle).values()
    assert all(torch.isfinite(tensor).all() for tensor in weights)
    assert {tensor.dtype for tensor in weights} == {torch.float32}


def test_the_ledger_names_the_filters(run, entry):
    entries = chain.read(run / "sites" / "north" / "ledger.jsonl")
    details = [entry["detail"] for entry in entries if entry["message"] == "TrainReply"]
    assert len(details) == 3 and all(FILTERS[entry][1] in d for d in details)
