from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from fednnunet import records
from fednnunet.commands.report_run import report_run
from fednnunet.errors import InputError
from fednnunet.evaluation.gains import Gain
from fednnunet.evaluation.scores import SiteScores
from fednnunet.federation.coordinator.pictures import keep_pictures
from fednnunet.federation.spec import Federation, SiteSpec
from fednnunet.federation.wire.messages import EvaluateReply
from fednnunet.federation.wire.pictures import as_tensors
from fednnunet.federation.workflows.train import SCORES, ModelScores, TrainingScores
from tests.evaluation.made_up import a_case
from tests.federation.fakes import MEMBERS, PretendEngine, a_run, go
from tests.federation.wire.test_pictures import a_png

CASE = "admission_77"


@pytest.fixture
def run(tmp_path):
    """A run folder whose third site failed in a round and whose fourth is external."""
    trained = a_run(tmp_path, quorum=2)
    go(trained, PretendEngine(fail={1: "c"}))
    sites = {name: SiteSpec(folder=tmp_path / name) for name in MEMBERS}
    sites["d"] = SiteSpec(folder=tmp_path / "d", trains=False)
    federation = Federation(task=trained.plan.task, sites=sites, training=trained.training)
    records.write(federation, tmp_path / "federation.json")
    records.write(trained.plan, tmp_path / "plan.json")
    scores = SiteScores.of(("a",), [a_case(CASE, 0.625, target="a")])
    model = ModelScores(model="global", method="fedavg", personal=False, sites={"a": scores})
    found = TrainingScores(training_cases={"a": 1, "b": 2, "c": 3, "d": 0}, models=(model,))
    records.write(found, tmp_path / SCORES)
    return tmp_path


def test_the_report_has_figures_and_faults_but_no_case(run):
    path = report_run(run)
    text = path.read_text()
    assert path == run / "report.html"
    assert "t: 4 sites" in text
    assert "0.625" in text
    assert "a 1, b 2, c 3, d 0" in text
    assert "round 2: c gave no acceptable reply" in text
    assert "external sites, which only evaluate the global model: d" in text
    assert CASE not in text


def test_the_best_round_of_a_model_is_named(run):
    found = records.read(TrainingScores, run / SCORES)
    best = replace(found.models[0], keep="best", rounds={"a": 3})
    records.write(replace(found, models=(best,)), run / SCORES)
    assert "global: a 3" in report_run(run).read_text()


def test_a_run_without_scores_has_no_report(run):
    (run / SCORES).unlink()
    with pytest.raises(InputError, match=f"{SCORES} is missing"):
        report_run(run)


def test_what_sites_send_of_differences_and_pictures_is_shown(run):
    found = records.read(TrainingScores, run / SCORES)
    gain = Gain.of([0.1, 0.12] * 6, squared=10)
    scores = SiteScores.of(("a",), [a_case(CASE, 0.5, target="a")])
    alone = ModelScores(
        model="local",
        method="local",
        personal=True,
        sites={"a": scores},
        gains={"a": {"global": gain}},
    )
    records.write(replace(found, models=(*found.models, alone)), run / SCORES)
    for name, body in (("global", b"1"), ("personal", b"2")):
        reply = EvaluateReply(
            scores=scores, round=1, tensors=as_tensors({"worst": a_png(body=body)})
        )
        keep_pictures(run, name, {"b": reply})
    text = report_run(run).read_text()
    assert "on average +0.110 Dice, 95 % interval" in text
    assert "better in 12 of 12 cases, worse in 0" in text
    assert "worst case of b" in text
    assert text.count("data:image/png") == 1
    assert base64.b64encode(a_png(body=b"2")).decode() in text  # the site's own model's
