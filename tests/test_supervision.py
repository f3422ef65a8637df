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


def test_the_tasks_ignore_value_holds_unless_the_case_has_its_own():
    task = small_task(ignore=3)
    assert Supervision().ignored(task) == 3
    assert Supervision(ignore=7).ignored(task) == 7


def test_annotating_every_class_is_full_supervision():
    assert partial_supervision((0, 1, 2), small_task()) == Supervision()
    assert partial_supervision((0, 2), small_task()) == PARTIAL


def test_a_case_has_the_sites_default_or_its_own():
    site = SiteSupervision(cases={"b": PARTIAL})
    assert (site.of("a"), site.of("b")) == (Supervision(), PARTIAL)


@pytest.mark.parametrize("fields", [{"kind": "partial"}, {"annotated": (1,)}])
def test_a_kind_that_contradicts_its_classes_is_refused(fields):
    with pytest.raises(InputError, match="annotates the values"):
        Supervision(**fields)
