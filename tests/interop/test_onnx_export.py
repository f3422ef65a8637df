"""ONNX files; those of real graphs are skipped where the extra `onnx` is not installed."""

from __future__ import annotations

import dataclasses
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import torch

from fednnunet import records
from fednnunet.dataset import Case
from fednnunet.errors import InputError
from fednnunet.inference.bundle import Bundle, join_experts, write_bundle
from fednnunet.inference.compute import Compute
from fednnunet.inference.predict import predict_cases
from fednnunet.interop.onnx_export import Rules, export_onnx, rules_of
from fednnunet.training.initial import initial_tensors
from tests.interop.models import REGIONS, make_bundle, make_plan

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
INSTALLED = all(importlib.util.find_spec(name) for name in PACKAGES)
needs_onnx = pytest.mark.skipif(not INSTALLED, reason="the extra onnx is not installed")


def test_the_rules_are_those_of_the_plan(tmp_path: Path) -> None:
    rules = rules_of(make_bundle(tmp_path, make_plan(task=REGIONS)))
    assert (rules.region_values, rules.patch_vox, rules.mirrored) == ((1, 2, 3), (8, 8, 8), True)
    assert records.decode(Rules, records.encode(rules)) == rules


@pytest.mark.skipif(INSTALLED, reason="the extra onnx is installed")
def test_a_missing_package_is_named(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", make_plan())
    with pytest.raises(InputError, match="this needs the package onnx") as caught:
        export_onnx(bundle, tmp_path / "model.onnx")
    assert "fednnunet[onnx]" in caught.value.mend


@needs_onnx
def test_what_one_file_cannot_hold_is_refused(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", make_plan())
    experts = dataclasses.replace(bundle, weights=join_experts({"a": bundle.weights}))
    with pytest.raises(InputError, match="bundle of experts"):
        export_onnx(experts, tmp_path / "model.onnx")
    with pytest.raises(InputError, match=r"does not end with \.onnx"):
        export_onnx(bundle, tmp_path / "model")
    (tmp_path / "model.onnx").write_text("")
    with pytest.raises(InputError, match="is there already"):
        export_onnx(bundle, tmp_path / "model.onnx")


def _image(path: Path) -> None:
    """A blurred noise volume with a margin of zeros, stored in LPS with a spacing of its own."""
    array = np.zeros((11, 15, 13), np.float32)
    array[1:, 2:, :-1] = np.random.default_rng(0).normal(5, 2, (10, 13, 12))
    image = SimpleITK.DiscreteGaussian(SimpleITK.GetImageFromArray(array[1:, 2:, :-1]), 2.0)
    array[1:, 2:, :-1] = SimpleITK.GetArrayFromImage(image)
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing((0.8, 1.2, 1.7))
    SimpleITK.WriteImage(image, str(path))


def _ours(bundle: Bundle, path: Path, folder: Path) -> np.ndarray:
    case = Case(name="case", images=(path,), label=None, group="case")
    predict_cases(bundle, [case], folder, compute=Compute())
    return np.asarray(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(folder / "case.nii.gz"))))


@needs_onnx
@pytest.mark.parametrize(
    ("kind", "spacing"), [("plain_3d", (1.5, 1.0, 1.0)), ("residual_2d", (1.0, 1.0))]
)
def test_the_example_gives_our_masks(kind: str, spacing: tuple[float, ...], tmp_path: Path) -> None:
    plan = make_plan(kind, orientation="RAS", transpose=(1, 0, 2))
    settings = dataclasses.replace(plan.configurations[0], spacing_mm=spacing)
    plan = dataclasses.replace(plan, configurations=(settings,))
    weights = initial_tensors(plan, settings.name, seed=3)
    bundle = write_bundle(
        tmp_path / "bundle", plan=plan, configuration=settings.name, weights=weights
    )
    export_onnx(bundle, tmp_path / "model.onnx")
    _image(tmp_path / "case_0000.nii.gz")
    arguments = (tmp_path / "model.onnx", tmp_path / "mask.nii.gz", tmp_path / "case_0000.nii.gz")
    example = ROOT / "examples" / "predict_onnx.py"
    subprocess.run([sys.executable, example, *arguments], check=True)
    mask = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(tmp_path / "mask.nii.gz")))
    ours = _ours(bundle, tmp_path / "case_0000.nii.gz", tmp_path / "ours")
    assert mask.shape == ours.shape and len(np.unique(ours[1:, 2:, :-1])) > 1
    assert (mask == ours).mean() > 0.999
    _check_any_number_of_tiles(bundle, tmp_path / "model.onnx")


def _check_any_number_of_tiles(bundle: Bundle, path: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    for count in (1, 3):
        tiles = torch.rand(count, 1, *bundle.settings.patch_vox)
        (logits,) = session.run(None, {"image": tiles.numpy()})
        with torch.inference_mode():
            ours = bundle.network()(tiles).numpy()
        np.testing.assert_allclose(logits, ours, rtol=1e-4, atol=1e-4)
