"""DICOM series in, masks as NIfTI and DICOM out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fednnunet import io
from fednnunet.api.predict import predict
from fednnunet.api.predict_dicom import predict_dicom
from fednnunet.commands.predict import main
from fednnunet.errors import InputError
from fednnunet.preprocess.dicom_label import masks_of
from fednnunet.preprocess.dicom_planes import read_planes
from fednnunet.preprocess.dicom_scan import scan
from tests.inference.conftest import make_bundle, make_plan

pytest.importorskip("highdicom", reason="DICOM needs the extra dicom")

import pydicom

from tests.preprocess.dicom_files import SHAPE, write_series


def test_series_are_predicted_and_their_masks_written_as_dicom(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "b", make_plan())
    voxels = np.random.default_rng(0).normal(100, 50, SHAPE).round()
    write_series(tmp_path / "in" / "one", voxels)
    write_series(tmp_path / "in" / "gap", voxels, skip=(2,))
    out = tmp_path / "out"
    outcome = predict_dicom(bundle, tmp_path / "in", out, forms=("seg", "rtstruct"), device="cpu")
    (name,) = outcome.written
    assert len(outcome.faults) == 1 and "misses slices" in str(outcome.faults[0])
    endings = {path.name.removeprefix(name) for path in out.glob(f"{name}*")}
    assert endings == {".nii.gz", ".seg.dcm", ".rtstruct.dcm"}
    assert not list(out.glob(".dicom-*"))
    mask = io.read_label(out / f"{name}.nii.gz").array[0]
    assert mask.any()
    (series,) = (one for one in scan(tmp_path / "in")[0] if one.uid == name)
    volume = read_planes(series).volume
    for reference in scan(out)[0]:
        for value, label in enumerate(bundle.plan.task.labels[1:], start=1):
            found = masks_of(reference, volume).get(label, np.zeros(SHAPE, bool))
            np.testing.assert_array_equal(found, mask == value)


def test_a_tilted_series_gets_a_mask_on_its_own_slices(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "b", make_plan())
    voxels = np.random.default_rng(0).normal(100, 50, SHAPE).round()
    slices = write_series(tmp_path / "in", voxels, shear=1.2)
    out = tmp_path / "out"
    outcome = predict_dicom(bundle, tmp_path / "in", out, forms=("labelmap",), device="cpu")
    assert not outcome.faults
    seg = pydicom.dcmread(out / f"{outcome.written[0]}.labelmap.dcm")
    places = {tuple(one.ImagePositionPatient) for one in slices}
    for frame in seg.PerFrameFunctionalGroupsSequence:
        assert tuple(frame.PlanePositionSequence[0].ImagePositionPatient) in places
    assert (seg.Rows, seg.Columns) == SHAPE[1:]


def test_without_forms_the_same_reader_gives_nifti_masks_alone(tmp_path: Path) -> None:
    make_bundle(tmp_path / "b", make_plan())
    voxels = np.random.default_rng(0).normal(100, 50, SHAPE).round()
    write_series(tmp_path / "in", voxels, shear=1.2)
    ((series,), _), out = scan(tmp_path / "in"), tmp_path / "out"
    outcome = predict(tmp_path / "b", tmp_path / "in", out, device="cpu")
    assert outcome.written == (series.uid,) and not outcome.faults
    assert {path.name for path in out.iterdir()} == {f"{series.uid}.nii.gz", "predictions.json"}
    arguments = [str(tmp_path / "b"), "-i", str(tmp_path / "in"), "-o", str(tmp_path / "more")]
    assert main([*arguments, "--device", "cpu", "--channels", "CT=coronal"]) == 2
    assert main([*arguments, "--device", "cpu"]) == 0
    mask = (out / f"{series.uid}.nii.gz").read_bytes()
    assert (tmp_path / "more" / f"{series.uid}.nii.gz").read_bytes() == mask


def test_unknown_forms_and_folders_without_images_are_errors(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "b", make_plan())
    (tmp_path / "in").mkdir()
    with pytest.raises(InputError, match="no image series"):
        predict_dicom(bundle, tmp_path / "in", tmp_path / "out")
    arguments = [str(tmp_path / "b"), "-i", str(tmp_path / "in"), "-o", str(tmp_path / "out")]
    assert main([*arguments, "--dicom", "pdf"]) == 2
