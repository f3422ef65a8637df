"""What labels teach, as plain data."""

from __future__ import annotations

import pytest

from fednnunet.errors import InputError
from fednnunet.supervision import SiteSupervision, Supervision, partial_supervision
from tests.training.fakes import small_task

PARTIAL = Supervision(kind="partial", annotated=(2,))


def test_full_labels_annotate_every_class():
    assert Supervision().classes(small_task()) == {1, 2}
    assert PARTIAL.classes(small_task()) == {2}


def test_a_region_is_covered_only_if_all_its_classes_are_annotated():
    assert PARTIAL.covers((2,), small_task()) and not PARTIAL.covers((1, 2), small_task())
    assert Supervision().covers((1, 2), small_task())


def test_only_complete_maps_of_a_task_without_an_ignore_value_leave_no_voxel_out():
    assert not any(kind.leaves_out(small_task()) for kind in (Supervision(), PARTIAL))
    assert Supervision().leaves_out(small_task(ignore=3))
    assert Supervision(kind="scribble").leaves_out(small_task())
    assert not Supervision(kind="none").leaves_out(small_task())  # its loss is no mean of voxels


def test_what_is_looked_for_by_kind():
    task = small_task()
    for kind in ("scribble", "point", "box", "pseudo"):
        assert Supervision(kind=kind).classes(task) == {1, 2}
        assert Supervision(kind=kind, annotated=(2,)).classes(task) == {2}
    assert Supervision(kind="none").classes(task) == frozenset()
    assert Supervision(kind="image", present=(1,)).classes(task) == frozenset()
    maps = {kind: Supervision(kind=kind).has_map for kind in ("full", "scribble", "box", "none")}
    assert maps == {"full": True, "scribble": True, "box": False, "none": False}


def test_annotating_every_class_is_full_supervision():
    assert partial_supervision((0, 1, 2), small_task()) == Supervision()
    assert partial_supervision((0, 2), small_task()) == PARTIAL


def test_a_case_has_the_sites_default_or_its_own():
    site = SiteSupervision(cases={"b": PARTIAL})
    assert (site.of("a"), site.of("b")) == (Supervision(), PARTIAL)


@pytest.mark.parametrize(
    "fields", [{"kind": "partial"}, {"annotated": (1,)}, {"kind": "none", "annotated": (1,)}]
)
def test_a_kind_that_contradicts_its_classes_is_refused(fields):
    with pytest.raises(InputError, match="annotates the values"):
        Supervision(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "image"},
        {"kind": "image", "present": (1,), "absent": (1,)},
        {"kind": "scribble", "absent": (1,)},
    ],
)
def test_presence_belongs_to_image_labels_and_says_one_thing_of_a_class(fields):
    with pytest.raises(InputError, match="present"):
        Supervision(**fields)
