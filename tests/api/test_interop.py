from __future__ import annotations

from pathlib import Path

import pytest

from fednnunet.api.interop import export_model, import_model
from fednnunet.errors import InputError
from tests.interop.models import make_bundle, make_plan


def test_a_model_goes_out_and_comes_in(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", make_plan())
    export_model(tmp_path / "bundle", tmp_path / "model")
    export_model([bundle], str(tmp_path / "model.zip"))
    for source in ("model", "model.zip"):
        imported = import_model(tmp_path / source, tmp_path / f"in_{source}")
        (back,) = imported.bundles.values()
        assert all(back.weights[name].equal(t) for name, t in bundle.weights.items())


def test_an_unknown_format_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no format 'nnuent'") as caught:
        export_model([], tmp_path, to="nnuent")
    assert "nnunet" in caught.value.mend


def test_an_onnx_file_holds_one_bundle(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", make_plan())
    with pytest.raises(InputError, match="2 bundles were given"):
        export_model([bundle, bundle], tmp_path / "model.onnx", to="onnx")
    assert not (tmp_path / "model.onnx").exists()
