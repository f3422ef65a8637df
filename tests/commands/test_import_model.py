"""fednnunet_import from its command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from fednnunet.commands.import_model import main
from fednnunet.inference.bundle import read_bundle
from fednnunet.interop.nnunet_export import export_nnunet
from tests.interop.models import make_bundle, make_plan


def test_a_bundle_comes_in_with_the_command_to_predict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = make_bundle(tmp_path / "bundle", make_plan())
    export_nnunet([bundle], tmp_path / "model.zip")
    path = tmp_path / "in"
    assert main([str(tmp_path / "model.zip"), "-o", str(path)]) == 0
    assert f"predict: fednnunet_predict {path} -i IMAGES -o MASKS" in capsys.readouterr().out
    assert read_bundle(path).weights.keys() == bundle.weights.keys()


def test_what_is_no_model_gives_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model.zip").write_bytes(b"no zip")
    assert main([str(tmp_path / "model.zip"), "-o", str(tmp_path / "in")]) == 2
    assert "mend:" in capsys.readouterr().err
    assert not (tmp_path / "in").exists()
