"""fednnunet_export from its command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from fednnunet.commands.export import main
from tests.interop.models import make_bundle, make_plan


def test_the_command_for_nnunet_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_bundle(tmp_path / "bundle", make_plan(orientation="LPS"))
    assert main([str(tmp_path / "bundle"), "-o", str(tmp_path / "model")]) == 0
    out = capsys.readouterr().out
    assert f"nnUNetv2_predict_from_modelfolder -m {tmp_path / 'model'} -f 0 " in out
    assert "note: nnU-Net does not turn images to LPS" in out


def test_several_bundles_become_folds_of_a_zip(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in (0, 1):
        make_bundle(tmp_path / str(seed), make_plan(), seed=seed)
    both = f"{tmp_path / '0'},{tmp_path / '1'}"
    path = tmp_path / "model.zip"
    assert main([both, "-o", str(path), "--dataset-id", "12"]) == 0
    out = capsys.readouterr().out
    assert "2 folds written" in out
    assert "-d Dataset012_Knee_of_sites -tr nnUNetTrainer -c 3d_fullres -f 0 1 " in out


def test_a_folder_that_is_there_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_bundle(tmp_path / "bundle", make_plan())
    assert main([str(tmp_path / "bundle"), "-o", str(tmp_path / "bundle")]) == 2
    assert "bundle is there already" in capsys.readouterr().err
