"""Errors, several at once, and their places."""

from __future__ import annotations

from pathlib import Path

import pytest

from fednnunet.errors import (
    DataError,
    InputError,
    ManyFaults,
    PlanError,
    name_site,
    raise_all,
    single_faults,
)

ONE, TWO = DataError("one", where="a.nii"), PlanError("two", mend="plan it anew")


def test_an_error_says_what_where_and_how_to_mend_it():
    full = InputError("what", where="here", mend="do this")
    assert str(full) == "what\n  where: here\n  mend:  do this"
    assert str(InputError("what")) == "what"


def test_no_fault_is_none_one_is_itself_and_several_come_together():
    raise_all("x", [])
    with pytest.raises(DataError) as caught:
        raise_all("x", [ONE])
    assert caught.value is ONE
    with pytest.raises(ManyFaults, match="x: 2 faults") as many:
        raise_all("x", [ONE, TWO])
    assert many.value.faults == (ONE, TWO)
    assert str(many.value).splitlines() == [
        "x: 2 faults",
        "- one",
        "  where: a.nii",
        "- two",
        "  mend:  plan it anew",
    ]


def test_faults_within_faults_are_counted_singly():
    nested = ManyFaults("x", [ONE, ManyFaults("y", [TWO])])
    assert single_faults(nested) == (ONE, TWO)
    with pytest.raises(ManyFaults, match="z: 3 faults"):
        raise_all("z", [nested, InputError("three")])


def test_a_site_is_named_once_and_files_as_in_its_folder():
    fault = DataError("x", where="/data/north/imagesTr/a.nii")
    bare = DataError("y")
    many = ManyFaults("z", [fault, bare])
    for _ in range(2):
        name_site(many, "north", Path("/data/north"))
    assert fault.where == "site north, imagesTr/a.nii"
    assert bare.where == "site north"
