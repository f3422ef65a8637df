"""Methods that change the sites' training, over tiny hospitals: one run of rounds each."""

from __future__ import annotations

import json

import pytest

from fednnunet.commands import train
from fednnunet.federation.coordinator.history import load_records
from fednnunet.federation.methods.catalogue import METHODS
from fednnunet.federation.wire import chain
from fednnunet.federation.workflows.train import SCORES
from tests.end_to_end.tiny import TOML, make_federation, make_planned, no_pictures

MAIN = "fedproto"
OTHERS = ("scaffold", "fedsam_bn_head", "per_fedavg", "ditto", "head_alternating")
WITH_SETTINGS = "fedgkd_gamma=0.5_private=norm"
TABLE = '{name = "fedgkd", gamma = 0.5, private = ["norm"]}'


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    names = ", ".join([*(f'"{name}"' for name in OTHERS), TABLE])
    toml = TOML.replace('method = "fedbn_head"', f'method = "{MAIN}"\nbaselines = [{names}]')
    root = tmp_path_factory.mktemp("rules")
    make_planned(
        make_federation(root, toml=toml.replace("public_rounds = 1", "public_rounds = 2")),
        root / "run",
    )
    with no_pictures():
        assert train.main([str(root / "run")]) == 0
    return root / "run"


@pytest.mark.parametrize("method", [MAIN, *OTHERS, WITH_SETTINGS])
def test_every_method_trains_and_is_scored(run, method):
    folder = run if method == MAIN else run / "baselines" / method
    records = load_records(folder / "rounds")
    assert len(records) >= 2
    assert all(record.sites.keys() == {"north", "south"} for record in records)
    assert not any(record.refused for record in records)
    scored = {model["method"] for model in json.loads((run / SCORES).read_text())["models"]}
    assert method in scored


def test_the_ledger_says_which_auxiliary_tensors_were_sent(run):
    entries = chain.read(run / "sites" / "north" / "ledger.jsonl")
    told = [entry["detail"] for entry in entries if entry["message"] == "TrainReply"]
    for method in (MAIN, "scaffold"):
        assert told.count(METHODS[method].extras_words) == 2
    assert told.count("") == len(told) - 4
