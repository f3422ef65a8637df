"""Every method where not all sites take part in every round: some of them, late ones, leavers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

from fednnunet.errors import FedNNUNetError
from fednnunet.federation.coordinator.history import load_last, load_records, rounds_of
from fednnunet.federation.membership import Member
from fednnunet.federation.methods.catalogue import METHODS
from fednnunet.federation.wire.extras import split
from tests.federation.fakes import MEMBERS, SITES, PretendEngine, a_run, go

every_method = pytest.mark.parametrize("method", sorted(METHODS))
LATE = {**MEMBERS, "c": Member(cases=3, joins=3)}
LEAVING = {**MEMBERS, "b": Member(cases=2, leaves=2)}


class Listening(PretendEngine):
    """Keeps every site's invites."""

    def __init__(self, **settings) -> None:
        super().__init__(**settings)
        self.heard: dict[str, list] = {site: [] for site in SITES}

    def reply(self, site, invite):
        self.heard[site].append(invite)
        return super().reply(site, invite)


CASES: dict[str, tuple[dict, dict | None]] = {
    "two of three": ({"sites_per_round": 2}, None),
    "the worst of three": ({"sites_per_round": 1, "selection": "loss"}, None),
    "some, late and leaving": (
        {"sites_per_round": 1, "personal_rounds": 1},
        {**LEAVING, "c": Member(cases=3, joins=2)},
    ),
}
every_case = pytest.mark.parametrize(("settings", "members"), CASES.values(), ids=CASES)


def same(one, other) -> bool:
    return one.shared.keys() == other.shared.keys() and all(
        torch.equal(tensor, other.shared[name]) for name, tensor in one.shared.items()
    )


@every_method
@every_case
def test_the_order_of_replies_does_not_matter(tmp_path, method, settings, members):
    forward = go(a_run(tmp_path / "a", method, **settings), PretendEngine(), members)
    backward = go(a_run(tmp_path / "b", method, **settings), PretendEngine(backwards=True), members)
    assert same(forward, backward)


@every_method
@every_case
def test_a_restart_asks_the_same_sites_and_ends_the_same(tmp_path, method, settings, members):
    whole = a_run(tmp_path / "whole", method, **settings)
    expected = go(whole, PretendEngine(), members)
    asked = [set(record.sites) for record in load_records(whole.folder / "rounds")]
    broken = a_run(tmp_path / "broken", method, **settings)
    with pytest.raises(FedNNUNetError, match="the disk is full"):
        go(broken, PretendEngine(fail={3: min(asked[3])}), members)
    assert same(go(broken, PretendEngine(), members), expected)
    again = [set(record.sites) for record in load_records(broken.folder / "rounds")]
    assert again == asked


@every_method
def test_two_of_three_are_asked_evenly_and_go_on_from_their_own_last_round(tmp_path, method):
    engine = Listening()
    go(a_run(tmp_path, method, rounds=6, sites_per_round=2), engine)
    joint = {s: [i for i in heard if i.phase == "joint"] for s, heard in engine.heard.items()}
    assert Counter(i.round for invites in joint.values() for i in invites) == Counter(
        dict.fromkeys(range(6), 2)
    )
    for invites in joint.values():
        assert len(invites) == 4
        own = [invite.round + 1 for invite in invites]
        assert [invite.resume_round for invite in invites] == [0, *own[:-1]]
        assert all(invite.schedule_start == 25 * invite.round for invite in invites)


@every_method
def test_one_that_joins_late_begins_from_what_is_shared(tmp_path, method):
    run, engine = a_run(tmp_path, method), Listening()
    with pytest.raises(FedNNUNetError, match="the disk is full"):
        go(run, PretendEngine(fail={2: "a"}), LATE)
    before, _ = load_last(tmp_path / "rounds", key=run.key)
    go(run, engine, LATE)
    late = engine.heard["c"]
    assert [invite.round for invite in late if invite.phase == "joint"] == [2, 3]
    assert late[0].resume_round == 0
    received, _ = split(late[0].tensors)
    assert received.keys() == before.shared.keys()
    assert all(torch.equal(t, before.shared[name]) for name, t in received.items())


@every_method
def test_one_that_leaves_is_asked_no_more_and_keeps_its_last_round(tmp_path, method):
    engine = Listening()
    run = a_run(tmp_path, method, personal_rounds=1)
    go(run, engine, LEAVING)
    assert [invite.round for invite in engine.heard["b"]] == [0, 1]
    records = load_records(Path(run.folder) / "rounds")
    assert rounds_of(records, "b") == 2
    assert rounds_of(records, "a") == 5


def test_who_is_a_member_may_change_while_a_run_goes_on(tmp_path):
    run = a_run(tmp_path)
    with pytest.raises(FedNNUNetError, match="the disk is full"):
        go(run, PretendEngine(fail={2: "c"}))
    go(run, PretendEngine(fail={2: "c"}), {**MEMBERS, "c": Member(cases=3, leaves=2)})
    records = load_records(run.folder / "rounds")
    assert [sorted(record.sites) for record in records][2:4] == [["a", "b"], ["a", "b"]]
