"""No command ends in a traceback, whatever is wrong with its folders, its disk or its packages."""

from __future__ import annotations

import errno
import os
import pathlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from fednnunet.commands import check, compare, evaluate, plan, predict, train
from fednnunet.commands.cli import run_command
from tests.preprocess.programs import load_program


@dataclass(frozen=True, slots=True)
class World:
    """Folders to give to commands, which may be spoilt."""

    site: Path
    federation: Path
    planned: Path
    bundle: Path


COMMANDS: dict[str, Callable[[World, Path], int]] = {
    "plan": lambda w, out: plan.main([str(w.federation), "-o", str(out)]),
    "train": lambda w, out: train.main([str(out)]),
    "predict": lambda w, out: predict.main(
        [str(w.bundle), "-i", str(w.site / "imagesTr"), "-o", str(out)]
    ),
    "evaluate": lambda w, out: evaluate.main(
        [str(w.site / "labelsTr"), str(w.site / "labelsTr"), "-o", str(out)]
    ),
    "check": lambda w, out: check.main([str(w.site), "-o", str(out / "report.json")]),
    "compare": lambda w, out: compare.main(
        [str(w.federation), "--methods", "local", "--seeds", "1", "-o", str(out)]
    ),
    "fingerprint_site": lambda w, out: load_program("fingerprint_site").main(
        [str(w.site), "-o", str(out / "fingerprint.json")]
    ),
    "prepare_site": lambda w, out: load_program("prepare_site").main(
        [str(w.site), "--plan", str(w.planned / "plan.json"), "-o", str(out)]
    ),
}


@pytest.fixture
def world(federation, planned, trained, copy_of):
    root = copy_of(federation.parent)
    return World(root / "north", root / "federation.toml", planned, trained.run / "global")


def fail(error: BaseException) -> Callable[..., None]:
    def failing(*_: object, **__: object) -> None:
        raise error

    return failing


def of_system(number: int) -> OSError:
    return OSError(number, os.strerror(number), "/somewhere/file")


FAULTS: dict[str, Callable[[pytest.MonkeyPatch, Path], None]] = {
    "the output is a file": lambda patch, out: out.write_text("mine") and None,
    "no permission": lambda patch, out: patch.setattr(os, "access", lambda *_, **__: False),
    "the disk is full": lambda patch, out: patch.setattr(
        os, "replace", fail(of_system(errno.ENOSPC))
    ),
    "the disk is read-only": lambda patch, out: patch.setattr(
        os, "replace", fail(of_system(errno.EROFS))
    ),
    "a folder may not be read": lambda patch, out: patch.setattr(
        pathlib.Path, "iterdir", fail(of_system(errno.EACCES))
    ),
    "Ctrl-C": lambda patch, out: patch.setattr(os, "replace", fail(KeyboardInterrupt())),
}


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_command_ends_with_a_message(fault, name, world, copy_of, tmp_path, capsys):
    out = tmp_path / "out"
    if name == "train" and fault != "the output is a file":
        out = copy_of(world.planned)
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch:
        FAULTS[fault](patch, out)
        code = COMMANDS[name](world, out)
    said = capsys.readouterr().err
    assert code == (130 if fault == "Ctrl-C" else 2)
    assert said.count("error:") == 1
    assert "mend:" in said
    assert "Traceback" not in said
    assert "developers" not in said
    if fault == "the output is a file":
        assert out.read_text() == "mine"


@pytest.mark.parametrize("name", ["check", "fingerprint_site"])
def test_a_folder_in_the_place_of_a_file_is_a_message(name, world, tmp_path, capsys):
    for file in ("report.json", "fingerprint.json"):
        (tmp_path / file).mkdir()
    assert COMMANDS[name](world, tmp_path) == 2
    assert "a folder stands where the file is to go" in capsys.readouterr().err


def test_a_missing_package_is_named_with_the_command_that_installs_it(capsys, monkeypatch):
    assert run_command(fail(ModuleNotFoundError("no", name="highdicom.seg"))) == 2
    assert "pip install 'fednnunet[dicom]'" in capsys.readouterr().err
    assert run_command(fail(ModuleNotFoundError("no", name="cc3d"))) == 2
    assert "run: pip install cc3d" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "pydicom", None)
    program = load_program("dicom_to_nifti")
    assert program.main(["in", "-o", "out", "--channels", "CT"]) == 2
    assert "fednnunet[dicom]" in capsys.readouterr().err


def test_a_file_that_may_not_be_read_is_not_said_to_be_unwritable(capsys):
    assert run_command(fail(of_system(errno.EACCES))) == 2
    assert "file may not be read or written" in capsys.readouterr().err
