"""The coordinator's log of rounds."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from fednnunet.errors import DataError, FedNNUNetError
from fednnunet.federation.coordinator.history import load_records
from fednnunet.federation.coordinator.round_log import HEADS, REPLIES, RoundLog
from fednnunet.federation.log_spec import LogSpec
from fednnunet.federation.wire import chain, signing
from fednnunet.federation.wire.chain_checks import verify
from fednnunet.federation.wire.content_digests import ContentDigests
from fednnunet.federation.wire.log_lines import LogLines
from fednnunet.federation.wire.messages import pack
from tests.federation.fakes import SITES, PretendEngine, a_run, go
from tests.federation.logged import LoggedEngine, train


def lines_of(run) -> LogLines:
    return LogLines(chain.lines(run.folder / chain.FILE))


def test_it_changes_no_weight_and_names_what_went_both_ways(tmp_path):
    run, engine = a_run(tmp_path / "run"), LoggedEngine(tmp_path / "sites")
    state = train(run, engine)
    plain = go(a_run(tmp_path / "plain"), PretendEngine())
    assert all((state.shared[name] == plain.shared[name]).all() for name in plain.shared)
    assert engine.refused == [] and engine.notes == []
    log = lines_of(run)
    rounds = len(load_records(run.folder / "rounds"))
    assert sorted(log.merged) == [("", number) for number in range(rounds)] == sorted(log.asked)
    assert log.merged["", rounds - 1].shared == ContentDigests().tensors(state.shared)
    for site in SITES:
        answers = engine.folder / site / "answers" / "answers.json"
        sent = [one["reply"] for one in json.loads(answers.read_text())["answered"]]
        assert sent == [log.merged["", number].replies[site] for number in range(rounds)]
    found = verify(run.folder / chain.FILE)
    assert found.faults == () and found.unsigned == (0 if signing.can_sign() else 2 * rounds)


def test_all_up_to_date_sites_are_sent_equal_bytes(tmp_path):
    """So that a network engine writes them once."""
    seen: list[int] = []

    class Engine(LoggedEngine):
        def ask(self, invites, deadline):
            seen.append(len({pack(invite) for invite in invites.values()}))
            return super().ask(invites, deadline)

    run = a_run(tmp_path / "run")
    train(run, Engine(tmp_path / "sites"))
    assert seen == [1] * 4


@pytest.mark.parametrize(("after", "lost"), [(5, False), (3, True)])
def test_interrupted_it_goes_on_and_sites_agree(tmp_path, after, lost):
    """After some replies of a round, or before the record of a round that was merged."""
    whole = train(a_run(tmp_path / "whole"), LoggedEngine(tmp_path / "w"))
    run, engine = a_run(tmp_path / "run"), LoggedEngine(tmp_path / "sites")

    class Interrupted(LoggedEngine):
        left = after

        def reply(self, site, invite):
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
            return super().reply(site, invite)

    with pytest.raises(KeyboardInterrupt):
        train(run, Interrupted(engine.folder))
    if lost:
        (run.folder / "rounds" / "0001.json").unlink()
    state = train(run, engine)
    assert all((state.shared[name] == whole.shared[name]).all() for name in whole.shared)
    assert engine.refused == []
    assert verify(run.folder / chain.FILE).faults == ()


def test_a_site_that_misses_a_round_is_shown_what_it_lacks(tmp_path):
    run = a_run(tmp_path / "run", quorum=2)
    engine = LoggedEngine(tmp_path / "sites", fail={1: "b"})
    train(run, engine)
    assert engine.refused == []
    assert lines_of(run).merged["", 1].refused == ("b",)
    whole = chain.lines(run.folder / chain.FILE)
    assert chain.lines(engine.copy("b").path) == whole[: len(whole) - 1]


@pytest.mark.parametrize("change", ["touched", "cut", "reordered"])
def test_a_log_that_was_changed_stops_the_training(tmp_path, change):
    run, engine = a_run(tmp_path / "run"), LoggedEngine(tmp_path / "sites")
    train(run, engine)
    path = run.folder / chain.FILE
    lines = list(chain.lines(path))
    if change == "touched":
        entry = json.loads(lines[1])
        entry["about"]["shared"] = "0" * 64
        lines[1] = chain.canonical(entry)
    elif change == "cut":
        del lines[-1]
    else:
        lines[2], lines[3] = lines[3], lines[2]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    with pytest.raises(FedNNUNetError, match=r"line|lines") as caught:
        RoundLog(run.folder, LogSpec())
    assert "restore the file from a copy" in str(caught.value)


def test_a_reply_that_names_another_line_is_refused(tmp_path):
    class Lying(LoggedEngine):
        def copy(self, site, **changes):
            copy = super().copy(site, **changes)
            return copy if site != "b" else _Liar(copy)

    class _Liar:
        def __init__(self, copy):
            self.inner, self.path = copy, copy.path

        def check(self, invite, answers):
            self.inner.check(invite, answers)

        @property
        def head(self):
            return replace(self.inner.head, sha256="1" * 64)

    run = a_run(tmp_path / "run", quorum=2)
    train(run, Lying(tmp_path / "sites"))
    refused = load_records(run.folder / "rounds")[0].refused
    assert "does not name a line of the log" in refused["b"]


@pytest.mark.skipif(not signing.can_sign(), reason="needs the extra privacy (cryptography)")
def test_a_site_with_another_key_is_refused(tmp_path):
    run, engine = a_run(tmp_path / "run", quorum=2), LoggedEngine(tmp_path / "sites")

    class NewKey(LoggedEngine):
        def ask(self, invites, deadline):
            if next(iter(invites.values())).round == 2:
                for name in (signing.PRIVATE, signing.PUBLIC):
                    (self.folder / "b" / name).unlink()
            return super().ask(invites, deadline)

    train(run, NewKey(engine.folder))
    refused = load_records(run.folder / "rounds")[2].refused
    assert "another key" in refused["b"]
    spec = LogSpec(site_keys={"a": "0" * 64})
    other = a_run(tmp_path / "other", quorum=2)
    train(other, LoggedEngine(tmp_path / "others"), spec=spec)
    assert "another key" in load_records(other.folder / "rounds")[0].refused["a"]


def test_replies_are_kept_only_where_the_file_wants_it(tmp_path):
    run, engine = a_run(tmp_path / "run"), LoggedEngine(tmp_path / "sites")
    train(run, engine)
    assert not (run.folder / REPLIES).exists() and (run.folder / HEADS).is_file()
    kept = a_run(tmp_path / "kept")
    train(kept, LoggedEngine(tmp_path / "more"), spec=LogSpec(keep_replies=True))
    path = kept.folder / REPLIES / "0002" / "c.bin"
    assert chain.digest(path.read_bytes()) == lines_of(kept).merged["", 2].replies["c"]


def test_one_fault_is_one_error(tmp_path):
    run = a_run(tmp_path / "run")
    train(run, LoggedEngine(tmp_path / "sites"))
    (run.folder / chain.HEAD).unlink()
    with pytest.raises(DataError, match="is missing"):
        RoundLog(run.folder, LogSpec())
