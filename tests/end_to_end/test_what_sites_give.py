"""The graph of sites and the estimate of their contributions, from real training."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fednnunet import records
from fednnunet.commands import train
from fednnunet.evaluation.contribution import CONTRIBUTION, Contributions
from fednnunet.evaluation.site_graph import GRAPH, SiteGraph
from fednnunet.federation.workflows.train import SCORES
from tests.end_to_end.tiny import no_pictures


@pytest.fixture(scope="module")
def run(planned, tmp_path_factory) -> Path:
    run = Path(shutil.copytree(planned, tmp_path_factory.mktemp("giving") / "run"))
    content = json.loads((run / "federation.json").read_text())
    content["training"] |= {"method": "similarity", "contribution": True}
    (run / "federation.json").write_text(json.dumps(content))
    with no_pictures():
        assert train.main([str(run)]) == 0
    return run


def test_the_run_keeps_its_graph(run):
    graph = records.read(SiteGraph, run / GRAPH)
    assert graph.sites == ("north", "south")
    assert graph.round == 2
    assert all(0 < edge.similarity <= 1 for edge in graph.edges)


def test_each_site_has_a_model_of_its_own_and_all_have_a_common_one(run):
    north, south = (
        load_file(run / "sites" / site / "personal" / "weights.safetensors")
        for site in ("north", "south")
    )
    common = load_file(run / "global" / "weights.safetensors")
    assert north.keys() == south.keys() == common.keys()
    assert not all(torch.equal(tensor, south[name]) for name, tensor in north.items())
    models = {m["model"]: m for m in json.loads((run / SCORES).read_text())["models"]}
    assert set(models["personal"]["sites"]) == {"north", "south"}
    assert set(models["global"]["sites"]) == {"north", "south", "west"}


def test_every_sites_contribution_is_estimated_in_both_parts(run):
    sites = records.read(Contributions, run / CONTRIBUTION).sites
    assert set(sites) == {"north", "south"}
    assert sum(site.share for site in sites.values()) == pytest.approx(1.0)
    for site in sites.values():
        assert 0 <= site.divergence <= 2
        assert site.dice_loss is not None
        assert 0 <= site.dice_loss <= 1


def test_the_ledger_says_that_a_number_left(run):
    ledger = (run / "sites" / "north" / "ledger.jsonl").read_text()
    assert ledger.count('"ProbeReply"') == 1
    assert "one number" in ledger
