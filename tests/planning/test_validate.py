"""Sums of a site that no cases can have."""

from __future__ import annotations

import numpy as np
import pytest

from fednnunet.errors import FedNNUNetError, InputError
from fednnunet.planning.fingerprint import (
    Fingerprint,
)
from fednnunet.planning.shapes import ShapeSketch
from fednnunet.planning.validate import shares, validate, validate_shapes
from tests.planning.cases import TASK, exchanges, make_cases

CASES = make_cases(12)


WHOLE = Fingerprint.of(TASK, CASES)


@pytest.mark.parametrize(
    ("block", "place", "value", "message"),
    [
        ("cases", 0, -1, "number of cases"),
        ("cases", 0, 11, "counts 12 cases, not 11"),
        ("spacing_z", (0, 5), -1, "negative"),
        ("shape_y", 50, 0.5, "not whole numbers"),
        ("crop_ratio", (0, 3), 7, "crop ratio counts"),
        ("foreground_0", (1, 400), 3, "channel T1"),
        ("foreground_1", (1, 400), -3, "channel CT"),
        ("cases_per_label", 1, 13, "of 12 cases, 12 have foreground"),
        ("voxels_per_label", 1, 0, "voxels per label"),
        ("foreground_1", (3, 9000), np.nan, "not finite"),
        ("shape_x", 7, np.inf, "not finite"),
    ],
)
def test_impossible_sums_are_refused_with_the_site(
    block: str, place: object, value: float, message: str
) -> None:
    bad = Fingerprint.from_vector(TASK, WHOLE.to_vector())
    bad.block(block)[place] = value  # type: ignore[index]
    with pytest.raises(FedNNUNetError, match=message) as caught:
        validate(bad, site="berlin")
    assert "site berlin" in str(caught.value)
    validate(WHOLE, site="berlin")


def test_all_faults_of_a_reply_are_listed_at_once() -> None:
    bad = Fingerprint.from_vector(TASK, WHOLE.to_vector())
    bad.block("spacing_z")[0, 5] = -1
    bad.block("shape_y")[7] = -2
    with pytest.raises(InputError, match="spacing z") as caught:
        validate(bad, site="berlin")
    assert "shape y" in str(caught.value)


def test_a_share_is_of_all_cases() -> None:
    parts = {"b": Fingerprint.of(TASK, CASES[:3]), "a": Fingerprint.of(TASK, CASES[3:])}
    assert shares(parts) == {"a": 0.75, "b": 0.25}
    assert list(shares(parts)) == ["a", "b"]
    assert shares({"a": Fingerprint.empty(TASK)}) == {"a": 0.0}


def test_shapes_that_no_cases_have_are_refused() -> None:
    _, shapes = exchanges(CASES)
    for value, words in ((-1.0, "negative"), (0.5, "not whole"), (np.inf, "not finite")):
        changed = ShapeSketch.from_vector(shapes.spacing_mm, shapes.to_vector())
        changed.counts[1, 7] = value
        with pytest.raises(FedNNUNetError, match=words):
            validate_shapes(changed, site="berlin", cases=12)
