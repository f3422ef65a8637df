"""Which expressions may find the patient in the name of a case."""

from __future__ import annotations

import re

import pytest

from fednnunet.errors import InputError
from fednnunet.federation.patient_pattern import MAX_REPEATS, check_pattern


@pytest.mark.parametrize(
    "pattern",
    [
        "(.+)_scan[0-9]",
        "(.+)Ses[0-9]",
        r"(patient\d{3})_frame\d+",
        r"(?:BraTS_)(\w+?)_[0-9*+?{}()]{1,2}",
        r"(p\(\+\)*)\)*x",
        r"(?P<who>[^]_*+]+)_(?:pre|post)",
        "(p[0-9])_scan[0-9]|(q).*",
        "(a{)b{}+",
    ],
)
def test_plain_patterns_are_taken(pattern):
    re.compile(pattern)
    check_pattern(pattern)


def test_the_number_of_repeats_is_bounded():
    check_pattern("(a)" + ".*" * MAX_REPEATS)
    with pytest.raises(InputError, match="more than 4 repeats"):
        check_pattern("(a)" + ".*" * (MAX_REPEATS + 1))


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("(a", "no regular expression"),
        ("abc", "no group"),
        ("(?:abc)", "no group"),
        ("(a)" * 100, "300 characters"),
    ],
)
def test_what_finds_no_patient_is_refused(pattern, said):
    with pytest.raises(InputError, match=said):
        check_pattern(pattern)
