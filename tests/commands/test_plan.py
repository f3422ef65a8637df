from __future__ import annotations

import json
from pathlib import Path

import pytest

from fednnunet.commands.plan import main
from fednnunet.planning.plan import read_plan
from fednnunet.planning.record import read_fingerprint

EXAMPLES = Path(__file__).resolve().parents[2] / "plans" / "examples"
LIST = str(EXAMPLES / "breast_mri.default.json")


def test_a_list_of_cases_is_planned_and_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, many = tmp_path / "one", tmp_path / "many"
    assert main(["--from-cases", LIST, "-o", str(one)]) == 0
    assert main(["--from-cases", LIST, "--sites", "5", "--seed", "3", "-o", str(many)]) == 0
    assert (one / "plan.json").read_bytes() == (many / "plan.json").read_bytes()
    assert (one / "why.md").read_bytes() == (many / "why.md").read_bytes()
    assert read_fingerprint(one / "fingerprint.json").cases == read_plan(one / "plan.json").cases
    capsys.readouterr()
    assert main(["--explain", "-o", str(one)]) == 0
    assert "target spacing" in capsys.readouterr().out


def test_planner_and_memory_are_options(tmp_path: Path) -> None:
    assert main(["--from-cases", LIST, "--planner", "resenc_l", "-o", str(tmp_path)]) == 0
    large = read_plan(tmp_path / "plan.json")
    expected = json.loads((EXAMPLES / "breast_mri.resenc_l.json").read_text())["expect"]
    assert list(large.configuration("3d_fullres").patch_vox) == expected["3d_fullres"]["patch_vox"]
    options = ["--planner", "plain", "--memory-gib", "6,24", "-o", str(tmp_path)]
    assert main(["--from-cases", LIST, *options]) == 0
    small = read_plan(tmp_path / "plan.json").configuration("3d_fullres")
    assert small.patch_vox < large.configuration("3d_fullres").patch_vox


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "0 inputs were given"),
        (["--from-cases", LIST, "--from-nnunet", LIST], "2 inputs were given"),
        (["--from-cases", "nowhere.json"], "nowhere.json"),
        (["--from-cases", LIST, "--planner", "plane"], "no planner 'plane'"),
        (["--from-cases", LIST, "--memory-gib", "0"], "memory_gib"),
        (["--from-cases", LIST, "--sites", "500"], "cannot be split"),
        (["--from-nnunet", LIST], "dataset.json is missing"),
        (["--explain"], "plan.json is missing"),
    ],
)
def test_faults_are_told_with_exit_code_2_and_leave_the_folder_alone(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "-o", str(tmp_path / "out")]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert message in told and "mend:" in told
    assert not (tmp_path / "out").exists()


def test_no_word_of_the_table_is_broken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert main(["--from-cases", LIST, "-o", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    for words in ("spacing, mm", "median shape", "3d_fullres", "56 x 160 x 224"):
        assert words in shown
