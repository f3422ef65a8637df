"""fednnunet_ledger: what left, in words, and whether the list is whole."""

from __future__ import annotations

import pytest

from fednnunet.commands import ledger as command
from fednnunet.federation.site import ledger
from fednnunet.federation.wire import chain


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    path, detail = tmp_path / chain.FILE, "in [bold]4 bits"
    asked = ledger.About(detail=detail, asked="TrainInvite", run="", phase="joint", round=2)
    ledger.record(path, kind="TrainReply", words="weights", data=b"123", about=asked)
    fault = ledger.About(fault="refusal")
    ledger.record(path, kind="FaultReply", words="a fault", data=b"1", about=fault)
    return tmp_path


def test_it_counts_the_messages_and_lists_them_if_asked(site, capsys):
    assert command.main([str(site)]) == 0
    short = capsys.readouterr().out
    assert "TrainReply" in short and "4 bits" not in short
    assert command.main([str(site / chain.FILE), "--show"]) == 0
    long = " ".join(capsys.readouterr().out.split())
    assert "joint round 3" in long and "fault: refusal" in long and "[bold]" in long


def test_a_whole_ledger_is_verified_and_a_changed_one_is_not(site, capsys):
    assert command.main([str(site), "--verify"]) == 0
    assert "2 lines in order" in capsys.readouterr().out
    path = site / chain.FILE
    path.write_bytes(path.read_bytes().replace(b'"bytes":3', b'"bytes":4'))
    assert command.main([str(site), "--verify"]) == 2
    assert "line 2 does not follow" in capsys.readouterr().err


def test_lines_that_are_no_entries_are_named(site, capsys):
    (site / chain.FILE).write_bytes(b"junk\n")
    assert command.main([str(site)]) == 2
    assert "--verify" in capsys.readouterr().err
    assert command.main([str(site), "--verify"]) == 2
    assert "line 1 is no entry" in capsys.readouterr().err


def test_a_site_that_sent_nothing_a_folder_without_ledger_and_a_missing_key(tmp_path, capsys):
    (tmp_path / chain.FILE).touch()
    assert command.main([str(tmp_path)]) == 0
    assert "nothing has left" in capsys.readouterr().out
    assert command.main([str(tmp_path), "--verify", "--key", str(tmp_path / "none")]) == 2
    assert "no such key" in capsys.readouterr().err
    assert command.main([str(tmp_path / "elsewhere")]) == 2
    assert "RUN/sites/NAME" in capsys.readouterr().err
