from __future__ import annotations

import json

import pytest

from fednnunet.commands.check import main
from tests.preprocess.sound_site import label_path, make_sound_site


@pytest.fixture
def folder(tmp_path):
    make_sound_site(tmp_path / "berlin")
    return tmp_path / "berlin"


def test_the_command_says_what_and_gives_its_code(folder, tmp_path, capsys):
    assert main([str(folder)]) == 0
    label_path(folder, 4).unlink()
    assert main([str(folder), "-o", str(tmp_path / "report.json")]) == 2
    assert "case_4" in capsys.readouterr().err
    assert json.loads((tmp_path / "report.json").read_text())["verdict"] == "not fit"


def test_a_missing_folder_is_said_to_be_missing(tmp_path, capsys):
    assert main([str(tmp_path / "none")]) == 2
    assert "folder is missing" in capsys.readouterr().err
