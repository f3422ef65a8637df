"""Disks that are full, read-only or in the way: one message of ours, and nothing lost."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fednnunet import io, records
from fednnunet.commands import check, evaluate, plan, predict
from fednnunet.commands.cli import run_command
from fednnunet.errors import StorageError
from fednnunet.files import replacing, write_text
from fednnunet.preprocess.workers import try_jobs
from fednnunet.volume import Geometry, Volume

NOISE = np.random.default_rng(0).normal(size=(1, 40, 60, 60)).astype(np.float32)  # 576 kB


@pytest.fixture(params=[400, 460])
def small_disk(request, tmp_path):
    """A disk with so many KiB; the test is skipped where none can be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={request.param}k", "tmpfs", str(disk)],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("no disk can be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("ending", io.ENDINGS)
def test_an_image_is_written_whole_or_not_at_all(small_disk, ending):
    volume = Volume(array=NOISE, geometry=Geometry(spacing_mm=(1.0, 1.0, 1.0)))
    path = small_disk / f"a{ending}"
    io.write_volume(Volume(array=NOISE[:, :2], geometry=volume.geometry), path)
    before = {p.name: p.read_bytes() for p in small_disk.iterdir()}
    with pytest.raises(StorageError, match="no room") as fault:
        io.write_volume(volume, path)
    assert "same command" in fault.value.mend
    assert {p.name: p.read_bytes() for p in small_disk.iterdir()} == before


def _tensors(path: Path) -> None:
    with replacing(path) as temporary:
        save_file({"a": torch.zeros(200_000)}, temporary)


def _array(path: Path) -> None:
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.save(stream, NOISE)


@pytest.mark.parametrize(
    "write", [_tensors, _array, lambda path: records.write({"a": "x" * 700_000}, path)]
)
def test_whatever_writes_it_a_full_disk_is_one_message(small_disk, write):
    path = small_disk / "a"
    path.write_text("before")
    with pytest.raises(StorageError, match="no room"):
        write(path)
    assert [p.name for p in small_disk.iterdir()] == ["a"]
    assert path.read_text() == "before"


@pytest.mark.parametrize(
    "number, words",
    [(errno.ENOSPC, "no room"), (errno.EROFS, "read-only"), (errno.EACCES, "may not be written")],
)
def test_an_error_of_the_disk_is_one_message_and_the_next_try_succeeds(
    tmp_path, monkeypatch, number, words
):
    path = tmp_path / "a.json"
    write_text(path, "before")

    def fail(*_):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", fail)
        with pytest.raises(StorageError, match=words):
            write_text(path, "after")
    assert path.read_text() == "before"
    write_text(path, "after")
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def _full(job: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device", "x")


def test_a_full_disk_ends_the_work_at_once_and_is_not_told_for_every_case():
    with pytest.raises(StorageError):
        try_jobs(_full, {"a": 1, "b": 2}, workers=1, progress=None, what="prepare")


@pytest.mark.parametrize("nested", [False, True])
def test_an_output_that_is_a_file_is_refused_before_any_work(tmp_path, capsys, nested):
    (tmp_path / "file").write_text("mine")
    out = str(tmp_path / "file" / "run" if nested else tmp_path / "file")
    runs = (
        (plan.main, ["missing.toml", "-o", out]),
        (predict.main, ["missing", "-i", "missing", "-o", out]),
        (evaluate.main, ["missing", "missing", "-o", out]),
    )
    for main, arguments in runs:
        assert main(arguments) == 2
        shown = capsys.readouterr().err
        assert "a file stands where a folder is needed" in shown
        assert "where:" in shown
        assert "mend:" in shown
    assert (tmp_path / "file").read_text() == "mine"


def test_a_report_that_cannot_be_written_is_a_message(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    assert check.main([str(tmp_path), "-o", str(tmp_path / "file" / "report.json")]) == 2
    assert "a file stands where a folder is needed" in capsys.readouterr().err


def test_errors_of_the_disk_from_anywhere_are_messages(capsys):
    def fail():
        raise OSError(errno.ENOSPC, "No space left on device", "/run/ledger.jsonl")

    assert run_command(fail) == 2
    assert "ledger.jsonl cannot be written: there is no room" in capsys.readouterr().err


def test_ctrl_c_is_a_message_like_all_others(capsys):
    def stop():
        raise KeyboardInterrupt

    assert run_command(stop) == 130
    assert capsys.readouterr().err.startswith("error: interrupted\n  mend:")
