"""What sites state for a way of merging."""

from __future__ import annotations

from fednnunet.federation.methods.merging import Merging


def test_rows_by_class_ask_for_the_cases_that_annotate_it():
    assert Merging().figures == Merging(conflicts="drop").figures == ()
    assert Merging(head_rows="annotated").figures == ("annotated_cases",)
