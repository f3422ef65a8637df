"""Lines that hold the hash of the one before."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from fednnunet.federation.wire import chain
from fednnunet.federation.wire.chain import digest


def test_lines_are_chained_however_long_they_are(tmp_path):
    path = tmp_path / "ledger.jsonl"
    for size in (10, 70_000, 200_000, 10):
        chain.append(path, {"message": "a" * size})
    found, lines = chain.read(path), chain.lines(path)
    assert [entry["number"] for entry in found] == [1, 2, 3, 4]
    assert [entry["before"] for entry in found[1:]] == [digest(line) for line in lines[:-1]]


def test_threads_do_not_break_the_chain(tmp_path):
    path = tmp_path / "ledger.jsonl"
    with ThreadPoolExecutor(4) as pool:
        for _ in range(20):
            pool.submit(chain.append, path, {"message": "A"})
    assert [entry["number"] for entry in chain.read(path)] == list(range(1, 21))


def test_a_ledger_of_an_earlier_version_is_continued(tmp_path):
    path = tmp_path / "ledger.jsonl"
    path.write_text('{"message": "old"}\n')
    chain.append(path, {"message": "A"})
    old, new = chain.read(path)
    assert old == {"message": "old"} and new["number"] == 2


def test_lines_of_somebody_else_are_copied_as_they_are(tmp_path):
    path, copy = tmp_path / "ledger.jsonl", tmp_path / "copy" / "other.jsonl"
    for number in range(4):
        chain.append(path, {"message": str(number)})
    lines = chain.lines(path)
    chain.extend(copy, lines[1:3])
    with copy.open("ab") as stream:
        stream.write(b"half a li")
    chain.extend(copy, lines[3:])
    assert chain.lines(copy) == lines[1:]
