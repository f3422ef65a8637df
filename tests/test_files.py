"""Files are whole or not there."""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from fednnunet.files import locked, replacing, write_text


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    write_text(tmp_path / "a.json", "old")
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "a.json") as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert (tmp_path / "a.json").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux which file is synced")
def test_content_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    events = []
    rename = os.replace
    monkeypatch.setattr(os, "fsync", lambda h: events.append(os.readlink(f"/proc/self/fd/{h}")))
    monkeypatch.setattr(os, "replace", lambda a, b: (events.append("rename"), rename(a, b)))
    write_text(tmp_path / "folder" / "a.json", "new")
    content, renamed, folder = events
    assert content.endswith("-a.json") and renamed == "rename"
    assert folder == str(tmp_path / "folder")


def test_the_temporary_name_keeps_the_ending(tmp_path):
    with replacing(tmp_path / "mask.nii.gz") as temporary:
        assert temporary.name.endswith(".nii.gz") and temporary.parent == tmp_path
        temporary.write_bytes(b"x")


def test_a_lock_is_held_by_one_at_a_time(tmp_path):
    path, inside, seen = tmp_path / "file", [], []

    def hold(number):
        with locked(path):
            inside.append(number)
            seen.append(len(inside))
            time.sleep(0.002)
            inside.remove(number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(hold, range(20)))
    assert seen == [1] * 20
