"""A coordinator that alters what one site receives, fakes a merge, or shows different logs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fednnunet.errors import FedNNUNetError
from fednnunet.federation.coordinator import rounds
from fednnunet.federation.coordinator.round_log import OpenRound, RoundLog
from fednnunet.federation.coordinator.rounds import run_rounds
from fednnunet.federation.log_spec import LogSpec
from fednnunet.federation.methods.merge import State
from fednnunet.federation.wire import signing
from tests.federation.fakes import INITIAL, MEMBERS, a_run
from tests.federation.logged import KEEP, LoggedEngine, audit, train

signed = pytest.mark.skipif(not signing.can_sign(), reason="needs the extra privacy (cryptography)")


def altered(tensors):
    return {name: tensor + 0.25 for name, tensor in tensors.items()}


def at_b(number):
    """Other weights for site b in one round."""

    def change(site, invite):
        if (site, invite.round) != ("b", number):
            return invite
        return replace(invite, tensors=altered(invite.tensors))

    return change


def refusals(tmp_path, change, run=None):
    engine = LoggedEngine(tmp_path / "sites", change=change)
    with pytest.raises(FedNNUNetError):
        train(run or a_run(tmp_path / "run"), engine)
    return engine.refused


def test_weights_altered_for_one_site_are_refused_there(tmp_path):
    (refused,) = refusals(tmp_path, at_b(2))
    assert refused == "2 b: the invite is not the one that the coordinator logged for the site"


def test_so_is_an_invite_with_another_resume_round_or_without_the_log(tmp_path):
    def other(site, invite):
        return replace(invite, resume_round=0) if (site, invite.round) == ("c", 1) else invite

    def without(site, invite):
        return replace(invite, log=None) if (site, invite.round) == ("c", 1) else invite

    assert "is not the one that the coordinator logged" in refusals(tmp_path / "1", other)[0]
    assert "does not show the coordinator's log" in refusals(tmp_path / "2", without)[0]


class Forger(RoundLog):
    """Logs for site b what it sends to it, whatever was merged."""

    def begin(self, invites):
        if next(iter(invites.values())).round == 2:
            invites = {**invites, "b": at_b(2)("b", invites["b"])}
        return super().begin(invites)


def test_altered_weights_that_are_logged_do_not_agree_with_the_merge(tmp_path):
    run, engine = a_run(tmp_path / "run"), LoggedEngine(tmp_path / "sites", change=at_b(2))
    with pytest.raises(FedNNUNetError):
        run_rounds(engine, run, INITIAL, MEMBERS, lambda _: None, log=Forger(run.folder, KEEP))
    assert engine.refused == [
        "2 b: the weights are not those that the coordinator logged as merged"
    ]


class TwoLogs(LoggedEngine):
    """Site b is shown a log of its own, in which it is sent altered weights."""

    other: RoundLog

    def ask(self, invites, deadline):
        mine = {s: at_b(invites["b"].round)(s, replace(i, log=None)) for s, i in invites.items()}
        opened = self.other.begin(mine)
        self.second = opened
        return super().ask({**invites, "b": opened.shown(mine)["b"]}, deadline)


def test_two_logs_are_found_by_the_signed_heads(tmp_path, monkeypatch):
    run = a_run(tmp_path / "run")
    engine = TwoLogs(tmp_path / "sites")
    honest = RoundLog(run.folder, LogSpec())
    engine.other = RoundLog(tmp_path / "second", LogSpec())
    if signing.can_sign():
        signing.sign(run.folder, b"")
        for name in (signing.PRIVATE, signing.PUBLIC):  # both logs are signed by the same key
            (tmp_path / "second").mkdir(exist_ok=True)
            (tmp_path / "second" / name).write_bytes((run.folder / name).read_bytes())
    monkeypatch.setattr(OpenRound, "check", _believe)

    whole = OpenRound.end

    def both(opened: OpenRound, state: State, refused: tuple[str, ...]) -> None:
        whole(opened, state, refused)
        other = engine.second
        other.replies, other.seen = dict(opened.replies), dict(opened.seen)
        told = altered(state.shared)
        whole(other, replace(state, for_site={"b": told}), refused)

    monkeypatch.setattr(OpenRound, "end", both)
    with pytest.raises(FedNNUNetError):
        run_rounds(engine, run, INITIAL, MEMBERS, lambda _: None, log=honest)
    assert "1 a: site b was shown another log of the coordinator" in engine.refused
    assert "1 b: site a was shown another log of the coordinator" in engine.refused


def _believe(opened, site, reply):
    """What a coordinator does that knows of the other log."""
    opened.seen[site] = reply.head


def test_a_site_finds_that_another_reply_was_counted_for_it(tmp_path, monkeypatch):
    whole = OpenRound.end

    def end(opened, state, refused):
        if opened.about.round == 1:
            opened.replies["a"] = "5" * 64
        whole(opened, state, refused)

    monkeypatch.setattr(OpenRound, "end", end)
    assert refusals(tmp_path, None) == ["2 a: the log has another reply of the site in round 2"]


def test_a_head_may_not_be_left_out(tmp_path):
    def change(site, invite):
        if (site, invite.round) != ("c", 3):
            return invite
        heads = {s: head for s, head in invite.log.heads.items() if s != "a"}
        return replace(invite, log=replace(invite.log, heads=heads))

    assert refusals(tmp_path, change) == ["3 c: the invite lacks what site a has seen of the log"]


@signed
def test_a_head_may_not_be_made_up(tmp_path):
    def change(site, invite):
        if (site, invite.round) != ("c", 3):
            return invite
        head = replace(invite.log.heads["a"], number=invite.log.heads["a"].number - 1)
        return replace(invite, log=replace(invite.log, heads={**invite.log.heads, "a": head}))

    (refused,) = refusals(tmp_path, change)
    assert "not signed by it" in refused or "another log" in refused


@signed
def test_lines_of_another_key_are_refused(tmp_path):
    run, engine = a_run(tmp_path / "run"), LoggedEngine(tmp_path / "sites")
    engine.spec = LogSpec(coordinator_key="a" * 64)
    with pytest.raises(FedNNUNetError):
        train(run, engine)
    assert all("signed with another key" in what for what in engine.refused)


def test_lines_that_were_rewritten_are_refused(tmp_path):
    """The coordinator has changed the first line of its log, and made all later ones anew."""

    def change(site, invite):
        if (site, invite.round) != ("a", 3):
            return invite
        return replace(invite, log=replace(invite.log, lines=invite.log.lines[-1:]))

    (refused,) = refusals(tmp_path, change)
    assert "not the one that it showed the site before" in refused


def test_a_faked_merge_is_found_by_the_auditor(tmp_path, monkeypatch):
    whole = rounds.check_state

    def fake(state):
        """The coordinator adds something to the merge of round 2, and logs that."""
        whole(state)
        if state.round == 2:
            for tensor in state.shared.values():
                tensor += 0.5

    run = a_run(tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(rounds, "check_state", fake)
        engine = LoggedEngine(tmp_path / "sites")
        train(run, engine, spec=KEEP)
    assert engine.refused == []  # all sites are sent the same: only an auditor can see it
    with pytest.raises(FedNNUNetError, match="merged weights are not those that the repl") as found:
        audit(run)
    assert "round 2" in found.value.where


def test_weights_altered_for_one_site_are_found_by_the_auditor(tmp_path):
    run, engine = (
        a_run(tmp_path / "run", quorum=2),
        LoggedEngine(tmp_path / "sites", change=at_b(2)),
    )
    run_rounds(engine, run, INITIAL, MEMBERS, lambda _: None, log=Forger(run.folder, KEEP))
    with pytest.raises(FedNNUNetError, match="what site b was sent is not what") as found:
        audit(run)
    assert "round 3" in found.value.where
