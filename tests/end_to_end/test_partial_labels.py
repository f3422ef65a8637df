"""A site that draws only some of the task's labels plans, trains and is judged by those."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from fednnunet import io
from fednnunet.commands import plan, train
from fednnunet.federation.site import trainer
from fednnunet.federation.workflows.train import SCORES
from fednnunet.planning.plan import read_plan
from tests.end_to_end.tiny import CASES, SPACINGS, TOML, make_federation, make_planned, no_pictures

PARTIAL = TOML.replace(
    'folder = "south"\n', 'folder = "south"\nlabels = "partial"\nannotated = ["ball"]\n'
)


def draw_balls_only(folder):
    """Call the cores of a site's label maps background, as a site does that never drew them."""
    for path in sorted((folder / "labelsTr").iterdir()):
        mask = io.read_label(path)
        ball = np.where(mask.array[0] == 1, 1, 0).astype(np.uint8)
        io.write_mask(ball, mask.geometry, path)
    header = json.loads((folder / "dataset.json").read_text())
    header["labels"] = {"background": 0, "ball": 1}
    (folder / "dataset.json").write_text(json.dumps(header))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("partial")
    federation = make_federation(root, toml=PARTIAL)
    draw_balls_only(root / "south")
    make_planned(federation, root / "run")
    with (
        no_pictures(),
        pytest.MonkeyPatch.context() as patch,
    ):  # four training cases: their overlap would stay
        patch.setattr(trainer, "OVERLAP_CASES", 1)
        assert train.main([str(root / "run")]) == 0
    return root / "run"


def test_the_plan_says_who_draws_what_and_how_often_it_occurs(run):
    made = read_plan(run / "plan.json")
    assert made.task.labels == ("background", "ball", "core")
    assert made.site_labels == {
        "north": ("ball", "core"),
        "south": ("ball",),
        "west": ("ball", "core"),
    }
    assert made.label_cases["ball"] == len(SPACINGS) * CASES
    assert made.label_cases["core"] == (len(SPACINGS) - 1) * CASES


def test_a_partial_site_is_scored_on_what_it_draws(run):
    scores = json.loads((run / SCORES).read_text())
    for model in scores["models"]:
        south, north = (model["sites"][site]["targets"] for site in ("south", "north"))
        assert south["ball"]["dice"]["count"] == 1
        assert south["core"]["dice"]["count"] == 0
        assert south["core"]["false_positives"] == 0
        assert north["core"]["dice"]["count"] == 1


def test_the_history_has_no_dice_of_what_a_site_does_not_draw(run):
    rows = list(csv.DictReader((run / "history.csv").open()))
    assert {row["site"] for row in rows} == {"north", "south"}
    for row in rows:
        assert float(row["seconds"]) > 0
        assert 0 <= float(row["dice_ball"]) <= 1
        assert 0 <= float(row["wait_share"]) <= 1
    assert all(float(row["dice_core"] or 0) == 0 for row in rows if row["site"] == "south")
    assert any(float(row["dice_core"]) > 0 for row in rows if row["site"] == "north")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('annotated = ["ball"]\n', "", "list the annotated labels"),
        ('["ball"]\n', '["spleen"]\n', "site south annotates ['spleen']"),
        ('"partial"', '"some"', "cannot be 'some'"),
    ],
)
def test_a_wrong_account_of_labels_is_refused(federation, copy_of, capsys, old, new, words):
    root = copy_of(federation.parent)
    assert old in PARTIAL
    (root / "federation.toml").write_text(PARTIAL.replace(old, new))
    assert plan.main([str(root / "federation.toml"), "-o", str(root / "run")]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert "federation.toml, $" in said
    assert not (root / "run").exists()
