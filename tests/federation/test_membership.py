"""When a site is a member of its federation."""

from __future__ import annotations

import pytest

from fednnunet.errors import InputError
from fednnunet.federation.membership import Member, present


def test_members_come_and_go():
    members = {"a": Member(joins=2), "b": Member(leaves=3), "c": Member()}
    assert [present(members, number) for number in range(4)] == [
        ("b", "c"),
        ("a", "b", "c"),
        ("a", "b", "c"),
        ("a", "c"),
    ]
    assert members["b"].has_left(3)
    assert not members["b"].has_left(2)


def test_a_round_without_sites_is_an_error():
    with pytest.raises(InputError, match="no site takes part in round 1"):
        present({"a": Member(joins=2)}, 0)


def test_bounds_are_rounds_from_one_and_both_are_inside():
    member = Member(joins=2, leaves=3)
    assert [member.is_in(number) for number in range(4)] == [False, True, True, False]
    assert [member.has_left(number) for number in range(4)] == [False, False, False, True]
    assert Member().is_in(0) and not Member().has_left(10**6)
