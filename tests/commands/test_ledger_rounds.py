"""The coordinator's log in words; the rest is in tests/end_to_end/test_round_log."""

from __future__ import annotations

import pytest

from fednnunet.commands import ledger as command
from fednnunet.federation.wire import chain, signing
from tests.federation.fakes import a_run
from tests.federation.logged import LoggedEngine, train


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """A run folder, and the folder of its sites."""
    folder = tmp_path_factory.mktemp("logged")
    engine = LoggedEngine(folder / "sites")
    train(a_run(folder / "run"), engine)
    return folder


def test_a_run_shows_its_rounds_and_the_key(logged, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")
    assert command.main([str(logged / "run"), "--show", "--verify"]) == 0
    out = capsys.readouterr().out
    assert "8 lines in order" in out and "4 rounds of the training were logged" in out
    assert "a, b, c" in out and "4, joint" in out
    assert ("signed by the coordinator's key" in out) == signing.can_sign()


def test_a_log_that_was_touched_is_one_message(logged, tmp_path, capsys):
    path = logged / "run" / chain.FILE
    copy = tmp_path / chain.FILE
    copy.write_bytes(path.read_bytes().replace(b'"round":1', b'"round":2', 1))
    copy.with_name(chain.HEAD).write_bytes(path.with_name(chain.HEAD).read_bytes())
    assert command.main([str(copy), "--verify"]) == 2
    assert "line 4 does not follow" in capsys.readouterr().err


def test_a_site_has_no_merges(logged, capsys):
    (logged / "sites" / "a" / chain.FILE).write_text("")
    assert command.main([str(logged / "sites" / "a"), "--recompute"]) == 2
    assert "has no merges to do again" in capsys.readouterr().err
