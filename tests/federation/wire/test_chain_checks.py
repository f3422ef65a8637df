"""A ledger that was changed is found out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fednnunet.federation.site import ledger
from fednnunet.federation.wire import chain, signing
from fednnunet.federation.wire.chain import canonical, digest
from fednnunet.federation.wire.chain_checks import public_key, verify


def a_ledger(folder: Path, count: int = 5) -> Path:
    path = folder / chain.FILE
    for number in range(count):
        ledger.record(path, kind="TrainReply", words="weights", data=bytes(number))
    return path


def test_a_ledger_as_it_was_written_has_no_fault(tmp_path):
    path = a_ledger(tmp_path)
    found = verify(path, public=public_key(tmp_path))
    assert (found.entries, found.faults) == (5, ())
    assert found.unsigned == (0 if signing.can_sign() else 5)
    assert verify(tmp_path / "none" / chain.FILE).entries == 0


def changed(lines):
    entry = json.loads(lines[2]) | {"bytes": 1}
    return [*lines[:2], canonical(entry), *lines[3:]]


def rewritten(lines):
    """Every line from the third on is made anew, so that the chain holds."""
    result = list(lines[:2])
    for line in lines[2:]:
        entry = json.loads(line) | {"bytes": 1, "before": digest(result[-1])}
        result.append(canonical(entry))
    return result


CHANGES = {
    "a changed line": (changed, "line 4 does not follow"),
    "a line cut out": (lambda lines: [*lines[:2], *lines[3:]], "line 3 has the number 4"),
    "two lines exchanged": (lambda x: [x[0], x[2], x[1], *x[3:]], "line 2 has the number 3"),
    "the last lines cut off": (lambda lines: lines[:3], "5 lines were written, 3 are there"),
    "the last line changed": (
        lambda x: [*x[:4], canonical(json.loads(x[4]) | {"bytes": 9})],
        "line 5 is not the one that was written last",
    ),
    "all of it written anew": (rewritten, "line 5 is not the one"),
    "junk": (lambda lines: [*lines[:1], b"junk", *lines[2:]], "line 2 is no entry"),
    "other spacing": (
        lambda x: [json.dumps(json.loads(x[0])).encode(), *x[1:]],
        "line 1 was written by another program",
    ),
}


@pytest.mark.parametrize(("change", "words"), CHANGES.values(), ids=CHANGES)
def test_a_change_is_found(tmp_path, change, words):
    path = a_ledger(tmp_path)
    path.write_bytes(b"".join(line + b"\n" for line in change(list(chain.lines(path)))))
    assert any(words in fault for fault in verify(path).faults)


def test_lines_that_somebody_appended_or_a_missing_head_are_found(tmp_path):
    path = a_ledger(tmp_path)
    lines = list(chain.lines(path))
    for number in (6, 7):
        entry = json.loads(lines[-1]) | {"number": number, "before": digest(lines[-1])}
        lines.append(canonical(entry))
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    assert any("lines were added after line 5" in fault for fault in verify(path).faults)
    (tmp_path / chain.HEAD).unlink()
    assert any("is missing" in fault for fault in verify(path).faults)
    (tmp_path / chain.HEAD).write_text("{}")
    assert any("cannot be read" in fault for fault in verify(path).faults)


def test_a_crash_between_the_line_and_the_head_is_no_fault(tmp_path):
    path = a_ledger(tmp_path, 4)
    head = (tmp_path / chain.HEAD).read_bytes()
    a_ledger(tmp_path, 1)
    (tmp_path / chain.HEAD).write_bytes(head)
    assert verify(path).faults == ()


@pytest.mark.skipif(not signing.can_sign(), reason="the package cryptography is not installed")
def test_a_whole_ledger_of_somebody_elses_is_found_by_the_key(tmp_path):
    north, south = tmp_path / "north", tmp_path / "south"
    for folder in (north, south):
        folder.mkdir()
        a_ledger(folder)
    own, other = (verify(south / chain.FILE, public=public_key(f)) for f in (south, north))
    assert own.faults == ()
    assert len(other.faults) == 5 and "line 1 is not signed by this key" in other.faults


@pytest.mark.skipif(not signing.can_sign(), reason="the package cryptography is not installed")
def test_lines_whose_signatures_were_taken_away_are_found(tmp_path, monkeypatch):
    path = a_ledger(tmp_path, 2)
    monkeypatch.setattr(signing, "find_spec", lambda name: None)
    a_ledger(tmp_path, 1)
    monkeypatch.undo()
    public = public_key(tmp_path)
    assert verify(path).faults == ()
    assert verify(path, public=public).faults == ("line 3 has no signature",)
    path.write_bytes(b"".join(line + b"\n" for line in without_signatures(chain.lines(path))))
    last = chain.lines(path)[-1]
    (tmp_path / chain.HEAD).write_text(json.dumps({"number": 3, "sha256": digest(last)}))
    assert verify(path, public=public).faults == ()  # as if the package had come later
    assert len(verify(path, public=public, all_signed=True).faults) == 3


def without_signatures(lines):
    """The ledger as one without signatures, its chain made anew."""
    found = []
    for line in lines:
        entry = {k: v for k, v in json.loads(line).items() if k != "signature"}
        found.append(canonical(entry | ({"before": digest(found[-1])} if found else {})))
    return found


def test_a_ledger_that_an_earlier_version_began_has_no_fault(tmp_path):
    path = tmp_path / chain.FILE
    path.write_text('{"message": "old"}\n{"message": "old"}\n')
    a_ledger(tmp_path, 3)
    found = verify(path)
    assert (found.entries, found.unchained, found.faults) == (5, 2, ())
    path.write_bytes(path.read_bytes().replace(b"old", b"new", 1).replace(b"old", b"new", 1))
    assert any("line 3 does not follow" in fault for fault in verify(path).faults)
