"""Which cases need a label map, and which can score a prediction."""

from __future__ import annotations

import pytest

from fednnunet.case_labels import CaseLabels, LabelBox
from fednnunet.supervision import Supervision

BOXES = (LabelBox(label=1, low=(0.0, 0.0, 0.0), high=(1.0, 1.0, 1.0), unit="voxel"),)
KINDS = {
    "full": (Supervision(), None, True, True),
    "partial": (Supervision(kind="partial", annotated=(1,)), None, True, True),
    "scribble": (Supervision(kind="scribble"), None, True, False),
    "point": (Supervision(kind="point"), None, True, False),
    "pseudo": (Supervision(kind="pseudo"), None, True, False),
    "boxes in a file": (Supervision(kind="box"), BOXES, False, False),
    "boxes in a map": (Supervision(kind="box"), None, True, False),
    "image": (Supervision(kind="image", present=(1,)), None, False, False),
    "none": (Supervision(kind="none"), None, False, False),
}


@pytest.mark.parametrize(("supervision", "boxes", "map_", "score"), KINDS.values(), ids=KINDS)
def test_what_a_kind_of_labels_needs_and_can_do(supervision, boxes, map_, score):
    labels = CaseLabels(supervision=supervision, boxes=boxes)
    assert (labels.needs_map, labels.can_score) == (map_, score)


def test_a_case_of_which_nothing_is_said_has_a_complete_map():
    labels = CaseLabels()
    assert labels.supervision == Supervision() and labels.needs_map and labels.can_score
