"""Who takes part in a round."""

from __future__ import annotations

from collections import Counter

import pytest

from fednnunet.federation.coordinator.history import RoundRecord, SiteRound
from fednnunet.federation.coordinator.participation import choose
from fednnunet.federation.membership import Member

NAMES = tuple("abcdefg")


def record(
    number: int, losses: dict[str, float | None], refused: tuple[str, ...] = ()
) -> RoundRecord:
    sites = {
        name: SiteRound(
            cases=1,
            loss=loss,
            dice=(),
            seconds=0.0,
            wait_share=0.0,
            bytes_to_site=0,
            bytes_from_site=0,
        )
        for name, loss in losses.items()
    }
    said = dict.fromkeys(refused, "no")
    return RoundRecord(
        key="k", round=number + 1, phase="joint", shift=0.0, sites=sites, refused=said
    )


def go(members, rounds, *, count, selection="random", seed=0, losses=None):
    """Rounds in which all that are asked answer; returns who was asked in each."""
    history, asked = [], []
    for number in range(rounds):
        found = choose(members, number, history, count=count, selection=selection, seed=seed)
        asked.append(found)
        history.append(record(number, {name: (losses or {}).get(name, 0.0) for name in found}))
    return asked


def test_all_take_part_where_no_number_is_given():
    members = dict.fromkeys(NAMES, Member())
    assert go(members, 2, count=0) == [NAMES, NAMES]
    assert go(members, 2, count=99) == [NAMES, NAMES]


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_turns_are_even_over_time(count):
    """After any round no site was asked two times more often than another."""
    asked = go(dict.fromkeys(NAMES, Member()), 30, count=count)
    assert {len(sites) for sites in asked} == {count}
    for end in range(1, 31):
        times = Counter(dict.fromkeys(NAMES, 0)) + Counter(n for s in asked[:end] for n in s)
        assert max(times[n] for n in NAMES) - min(times[n] for n in NAMES) <= 1


def test_the_draw_depends_on_the_seed_and_on_nothing_else():
    members = dict.fromkeys(NAMES, Member())
    backwards = dict(sorted(members.items(), reverse=True))
    one = go(members, 9, count=3)
    assert go(backwards, 9, count=3) == one
    assert go(members, 9, count=3, seed=1) != one


def test_a_site_that_did_not_answer_has_had_its_turn():
    members = dict.fromkeys("ab", Member())
    (first,) = choose(members, 0, [], count=1, selection="random", seed=0)
    history = [record(0, {}, refused=(first,))]
    (second,) = choose(members, 1, history, count=1, selection="random", seed=0)
    assert {first, second} == {"a", "b"}


def test_one_that_joins_late_takes_its_share_from_then_on():
    members = dict.fromkeys(NAMES, Member()) | {"late": Member(joins=11)}
    asked = go(members, 40, count=2)
    assert not any("late" in sites for sites in asked[:10])
    times = Counter(name for sites in asked[10:] for name in sites)
    assert 6 <= times["late"] <= 9  # 60 turns for eight sites


def test_by_loss_all_are_heard_first_and_the_worst_then_most():
    members = dict.fromkeys("abcd", Member())
    losses = {"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.9}
    asked = go(members, 42, count=1, selection="loss", losses=losses)
    times = Counter(name for sites in asked for name in sites)
    assert set(times) == set("abcd")
    # "d" wins whenever it is one of the two candidates of four: half of the time.
    assert times["d"] > times["c"] > times["a"]


def test_by_loss_every_candidate_is_drawn_by_its_cases():
    members = {"large": Member(cases=1000), **dict.fromkeys("abcd", Member(cases=1))}
    losses = {"large": 1.0, **dict.fromkeys("abcd", 0.0)}
    asked = go(members, 30, count=1, selection="loss", losses=losses)
    assert sum("large" in sites for sites in asked) >= 25


def test_by_loss_a_site_that_states_none_counts_as_the_mean_of_the_others():
    members = dict.fromkeys("abc", Member())
    history = [record(0, {"a": 0.9, "b": 0.1, "c": None})]
    for number in range(1, 9):
        (one,) = choose(members, number, history, count=1, selection="loss", seed=0)
        pairs = choose(members, number, history, count=2, selection="loss", seed=0)
        assert pairs == ("a", "c") and one in pairs
    silent = [record(0, dict.fromkeys("abc"))]
    assert len(choose(members, 1, silent, count=1, selection="loss", seed=0)) == 1
