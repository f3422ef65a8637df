"""DICOM masks lie where they belong, as highdicom's and our own readers find them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("highdicom", reason="DICOM needs the extra dicom")

import highdicom
import pydicom
import SimpleITK
from pydicom.uid import ExplicitVRLittleEndian

from fednnunet.errors import DataError
from fednnunet.preprocess.dicom_label import masks_of
from fednnunet.preprocess.dicom_out import Form, outlines, write_dicom
from fednnunet.preprocess.dicom_planes import Planes, read_planes
from fednnunet.preprocess.dicom_scan import scan
from fednnunet.task import Task
from tests.preprocess.dicom_files import SHAPE, write_series

TASK = Task(name="t", channels=("CT",), labels=("background", "organ", "nodule"))
MIRRORED = (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
OBLIQUE = (0.8, 0.6, 0.0, -0.6, 0.8, 0.0)


def a_mask() -> np.ndarray:
    """Two labels, one with a hole, one with voxels that touch by a corner."""
    mask = np.zeros(SHAPE, np.int16)
    mask[1:5, 3:13, 4:15] = 1
    mask[2:4, 6:9, 7:11] = 0
    mask[2, 15, 18] = mask[2, 16, 19] = mask[3, 15:17, 18:21] = 2
    return mask


def series_in(folder: Path, voxels: np.ndarray, **how: object) -> Planes:
    """A series as its planes."""
    write_series(folder, voxels, **how)  # type: ignore[arg-type]
    (series,), _ = scan(folder)
    return read_planes(series)


def points_of_seg(path: Path, number: int) -> np.ndarray:
    """The centres of a segment's voxels in mm, as highdicom places its frames."""
    seg = highdicom.seg.segread(path)
    found = []
    shared = seg.SharedFunctionalGroupsSequence[0]
    axes = shared.PlaneOrientationSequence[0].ImageOrientationPatient
    spacing = shared.PixelMeasuresSequence[0].PixelSpacing
    frames = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    for frame, groups in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        if seg.SegmentationType == "BINARY":
            segment = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
            inside = (frame > 0) & (segment == number)
        else:
            inside = frame == number
        to_mm = highdicom.spatial.PixelToReferenceTransformer(
            groups.PlanePositionSequence[0].ImagePositionPatient, axes, spacing
        )
        index = np.argwhere(inside)[:, ::-1]
        if len(index):
            found.append(to_mm(index))
    return np.concatenate(found)


def points_of_files(folder: Path, mask: np.ndarray, number: int) -> np.ndarray:
    """The same centres from each file's own header, slice by slice, by SimpleITK."""
    names = [str(path) for path in folder.glob("*.dcm")]
    images = [SimpleITK.ReadImage(name) for name in names]
    images.sort(key=lambda image: np.cross(image.GetDirection()[0:9:3], image.GetDirection()[1:9:3])
                @ np.array(image.GetOrigin()))  # fmt: skip
    return np.array(
        [
            images[z].TransformIndexToPhysicalPoint((int(x), int(y), 0))
            for z, y, x in np.argwhere(mask == number)
        ]
    )


def in_a_row(points: np.ndarray) -> np.ndarray:
    """Points (n, 3) sorted, to compare sets of them."""
    rounded = np.round(points, 3)
    return rounded[np.lexsort(rounded.T)]


@pytest.mark.parametrize("form", ["seg", "labelmap"])
@pytest.mark.parametrize("axes", [(1.0, 0, 0, 0, 1.0, 0), MIRRORED, OBLIQUE])
def test_a_seg_lies_where_the_images_files_say(
    tmp_path: Path, axes: tuple[float, ...], form: Form
) -> None:
    planes, mask = series_in(tmp_path / "s", np.zeros(SHAPE), axes=axes), a_mask()
    write_dicom(tmp_path / "m.dcm", planes, mask, TASK, form)
    for number in (1, 2):
        np.testing.assert_allclose(
            in_a_row(points_of_seg(tmp_path / "m.dcm", number)),
            in_a_row(points_of_files(tmp_path / "s", mask, number)),
            atol=2e-3,
        )
    header = pydicom.dcmread(tmp_path / "m.dcm")
    assert header.PatientID == pydicom.dcmread(planes.files[0]).PatientID
    assert header.StudyInstanceUID == planes.series.study


def test_a_seg_of_a_tilted_series_lies_on_its_slices(tmp_path: Path) -> None:
    voxels = np.where(a_mask() == 1, 500.0, 0.0)
    planes = series_in(tmp_path / "s", voxels, shear=1.2)
    upright = (planes.volume.array[0] > 250).astype(np.int16)
    write_dicom(tmp_path / "m.dcm", planes, upright, TASK, "seg")
    np.testing.assert_allclose(
        in_a_row(points_of_seg(tmp_path / "m.dcm", 1)),
        in_a_row(points_of_files(tmp_path / "s", planes.on_planes(upright), 1)),
        atol=2e-3,
    )


@pytest.mark.parametrize("axes", [(1.0, 0, 0, 0, 1.0, 0), MIRRORED, OBLIQUE])
@pytest.mark.parametrize("form", ["seg", "labelmap", "rtstruct"])
def test_our_reader_gets_the_same_mask_back(
    tmp_path: Path, axes: tuple[float, ...], form: Form
) -> None:
    planes, mask = series_in(tmp_path / "s", np.zeros(SHAPE), axes=axes), a_mask()
    write_dicom(tmp_path / "s" / "m.dcm", planes, mask, TASK, form)
    found, faults = scan(tmp_path / "s")
    (reference,) = (one for one in found if one.modality in ("SEG", "RTSTRUCT"))
    assert not faults and reference.refers_to == (planes.series.uid,)
    masks = masks_of(reference, planes.volume)
    assert masks.keys() == {"organ", "nodule"}
    np.testing.assert_array_equal(masks["organ"], mask == 1)
    np.testing.assert_array_equal(masks["nodule"], mask == 2)


@pytest.mark.parametrize("form", ["seg", "rtstruct"])
def test_a_multi_frame_series_gets_its_mask_too(tmp_path: Path, form: Form) -> None:
    """The frames of the multi-frame file are not in the order of their positions."""
    sources = write_series(tmp_path / "single", np.zeros(SHAPE))
    order = [3, 0, 5, 1, 4, 2]
    many = _multi_frame(sources, order)
    (tmp_path / "many").mkdir()
    many.save_as(tmp_path / "many" / "many.dcm", enforce_file_format=True)
    (series,), _ = scan(tmp_path / "many")
    planes, mask = read_planes(series), a_mask()
    write_dicom(tmp_path / "m" / "m.dcm", planes, mask, TASK, form)
    found, _ = scan(tmp_path / "m")
    masks = masks_of(found[0], planes.volume)
    np.testing.assert_array_equal(masks["organ"], mask == 1)
    if form == "rtstruct":
        contour = pydicom.dcmread(tmp_path / "m" / "m.dcm").ROIContourSequence[0].ContourSequence[0]
        frame = int(contour.ContourImageSequence[0].ReferencedFrameNumber)
        position = many.PerFrameFunctionalGroupsSequence[frame - 1].PlanePositionSequence[0]
        assert float(contour.ContourData[2]) == position.ImagePositionPatient[2]


def test_the_same_mask_has_the_same_identifiers(tmp_path: Path) -> None:
    planes, mask = series_in(tmp_path / "s", np.zeros(SHAPE)), a_mask()
    uids = []
    for name, own in (("a", mask), ("b", mask), ("c", np.where(mask == 2, 0, mask))):
        write_dicom(tmp_path / f"{name}.dcm", planes, own, TASK, "rtstruct")
        uids.append(pydicom.dcmread(tmp_path / f"{name}.dcm").SOPInstanceUID)
    assert uids[0] == uids[1] != uids[2]
    with pytest.raises(DataError, match="shape"):
        write_dicom(tmp_path / "d.dcm", planes, mask[1:], TASK, "seg")


def test_outlines_run_half_way_between_voxels() -> None:
    mask = np.zeros((5, 6), bool)
    mask[2, 3] = True
    (line,) = outlines(mask)
    assert set(map(tuple, line)) == {(1.5, 3.0), (2.0, 3.5), (2.5, 3.0), (2.0, 2.5)}


def _multi_frame(sources: list[pydicom.Dataset], order: list[int]) -> pydicom.Dataset:
    """An enhanced CT with the slices as frames, in this order."""
    from pydicom.dataset import Dataset
    from pydicom.uid import EnhancedCTImageStorage, generate_uid

    def item(**values: object) -> Dataset:
        found = Dataset()
        for name, value in values.items():
            setattr(found, name, value)
        return found

    many = sources[0].copy()
    many.SOPClassUID, many.SOPInstanceUID = EnhancedCTImageStorage, generate_uid()
    many.file_meta = many.file_meta.copy()
    many.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    many.file_meta.MediaStorageSOPInstanceUID = many.SOPInstanceUID
    many.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    many.SeriesInstanceUID = generate_uid()
    many.NumberOfFrames = len(order)
    one = sources[0]
    measures = item(PixelSpacing=one.PixelSpacing, SliceThickness=one.SliceThickness)
    slope = item(RescaleIntercept=-1024, RescaleSlope=1, RescaleType="HU")
    many.SharedFunctionalGroupsSequence = [
        item(
            PixelMeasuresSequence=[measures],
            PlaneOrientationSequence=[item(ImageOrientationPatient=one.ImageOrientationPatient)],
            PixelValueTransformationSequence=[slope],
        )
    ]
    many.PerFrameFunctionalGroupsSequence = [
        item(
            PlanePositionSequence=[item(ImagePositionPatient=sources[number].ImagePositionPatient)],
            FrameContentSequence=[item(DimensionIndexValues=[number + 1])],
        )
        for number in order
    ]
    many.DimensionOrganizationSequence = [item(DimensionOrganizationUID=generate_uid())]
    many.DimensionIndexSequence = [
        item(DimensionIndexPointer=0x00200032, FunctionalGroupPointer=0x00209113)
    ]
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing",
                 "SliceThickness", "RescaleIntercept", "RescaleSlope"):  # fmt: skip
        delattr(many, name)
    many.PixelData = b"".join(sources[number].PixelData for number in order)
    return many
