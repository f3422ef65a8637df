"""Fuzz targets for images: NIfTI, NRRD, MetaImage and DICOM, read as a site reads them."""

from __future__ import annotations

import functools
import gzip
import io as streams
import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from fuzz_mutate import mutate_bytes, mutate_text_header

from fednnunet import io
from fednnunet.dataset import Case
from fednnunet.errors import FedNNUNetError, InputError
from fednnunet.preprocess.check_case import check_case
from fednnunet.preprocess.dicom import Channel, convert_dicom
from fednnunet.task import Task
from fednnunet.volume import Geometry, Volume

SHAPE = (5, 6, 7)
TASK = Task(name="fuzz", channels=("MRI",), labels=("background", "organ", "tumour"))


@functools.cache
def _voxels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 3, SHAPE).astype(np.uint8)


@functools.cache
def _samples(ending: str) -> tuple[bytes, ...]:
    """Whole files of one format: stored voxels of several types, compressed or not."""
    if ending.startswith(".nii"):
        affine = np.diag([0.5, 0.75, 2.5, 1.0])
        affine[:3, 3] = 10, -20, 3
        images: list[Any] = [
            kind(_voxels().astype(dtype).transpose(2, 1, 0), affine)
            for kind in (nibabel.Nifti1Image, nibabel.Nifti2Image)
            for dtype in (np.uint8, np.int16, np.float32)
        ]
        return tuple(image.to_bytes() for image in images)
    import SimpleITK

    found = []
    geometry = Geometry(spacing_mm=(2.5, 0.75, 0.5))
    with tempfile.TemporaryDirectory() as name:
        for dtype in (np.uint8, np.float32):
            for compressed in (True, False):
                path = Path(name) / f"a{ending}"
                volume = Volume(array=_voxels().astype(dtype)[None], geometry=geometry)
                image = SimpleITK.GetImageFromArray(volume.array[0])
                image.SetSpacing(geometry.spacing_mm[::-1])
                SimpleITK.WriteImage(image, str(path), compressed)
                found.append(path.read_bytes())
                for raw in Path(name).glob("*raw"):
                    raw.unlink()
    return tuple(found)


def _use(path: Path, folder: Path) -> None:
    """All that is done with an image: its header, its voxels, a check, and a mask like it."""
    faults = []
    for read in (io.read_header, io.read_label, io.read_raw, io.read_4d):
        try:
            read(path)
        except FedNNUNetError as fault:
            faults.append(fault)
    label = folder / f"label{io.ending(path)}"
    check_case(Case(name="a", images=(path,), label=path, group="a"), TASK)
    volume = io.read_volume([path])
    io.write_mask(np.ones(volume.shape_vox, np.uint8), volume.geometry, label, like=path)
    mask = io.read_label(label)
    if difference := io.grid_difference(volume, mask):
        raise AssertionError(f"the mask's grid is not the image's: {difference}")


def nifti(rng: random.Random, folder: Path) -> None:
    """A NIfTI file with bytes of its header changed, or cut, plain or compressed."""
    data = mutate_bytes(rng, rng.choice(_samples(".nii")), within=352)
    if rng.random() < 0.2:
        data += bytes(rng.choice((1, 100, 1 << 20)))
    path = folder / "a.nii"
    if rng.random() < 0.5:
        path, data = folder / "a.nii.gz", gzip.compress(data, 1, mtime=0)
        data = mutate_bytes(rng, data) if rng.random() < 0.1 else data
    path.write_bytes(data)
    _use(path, folder)


def _text_image(ending: str) -> Callable[[random.Random, Path], None]:
    def run(rng: random.Random, folder: Path) -> None:
        data = mutate_text_header(rng, rng.choice(_samples(ending)), lines=13)
        path = folder / f"a{ending}"
        path.write_bytes(data)
        for name in ("a.raw", "a.zraw", "secret.txt", "a001.raw"):
            (folder / name).write_bytes(_voxels().astype(np.float32).tobytes())
        (folder.parent / "secret.txt").write_bytes(bytes(2000))
        _use(path, folder)

    run.__doc__ = f"A {ending} file with a line or bytes of its header changed."
    return run


def write_site(site: Path) -> None:
    """A site of two cases with two channels; files are empty, since only names are looked at."""
    if site.is_dir():
        return
    for name in ("case_1", "case_2"):
        for part in (f"imagesTr/{name}_0000", f"imagesTr/{name}_0001", f"labelsTr/{name}"):
            path = site / f"{part}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()


@functools.cache
def _series() -> dict[str, bytes]:
    """A small CT series, and the contours that were drawn on it."""
    import pydicom
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RTStructureSetStorage

    def base(uid: str, storage: str, modality: str, series: str) -> Dataset:
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.MediaStorageSOPClassUID = storage
        ds.file_meta.MediaStorageSOPInstanceUID = uid
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.SOPClassUID, ds.SOPInstanceUID = storage, uid
        ds.PatientID, ds.StudyInstanceUID, ds.SeriesInstanceUID = "P1", "1.2.9", series
        ds.Modality, ds.FrameOfReferenceUID, ds.SeriesDescription = modality, "1.2.8", "axial"
        return ds

    def data(ds: Dataset) -> bytes:
        stream = streams.BytesIO()
        pydicom.dcmwrite(stream, ds, enforce_file_format=True)
        return stream.getvalue()

    found = {}
    for z in range(3):
        ds = base(f"1.2.3.{z + 1}", CTImageStorage, "CT", "1.2.4")
        ds.ImagePositionPatient, ds.ImageOrientationPatient = [0, 0, 2.5 * z], [1, 0, 0, 0, 1, 0]
        ds.PixelSpacing, ds.SliceThickness, ds.InstanceNumber = [1.0, 1.0], 2.5, z + 1
        ds.Rows, ds.Columns, ds.SamplesPerPixel = 6, 7, 1
        ds.PhotometricInterpretation, ds.BitsAllocated, ds.BitsStored = "MONOCHROME2", 16, 16
        ds.HighBit, ds.PixelRepresentation = 15, 0
        ds.RescaleIntercept, ds.RescaleSlope = -1024, 1
        ds.PixelData = np.full((6, 7), 1024 + z, "<u2").tobytes()
        found[f"{z}.dcm"] = data(ds)
    found["contours.dcm"] = data(
        _contours(base("1.2.5.1", RTStructureSetStorage, "RTSTRUCT", "1.2.5"))
    )
    return found


def _contours(ds: Any) -> Any:
    """An RTSTRUCT with one square on the second slice."""
    from pydicom.dataset import Dataset

    roi, drawn, contour = Dataset(), Dataset(), Dataset()
    roi.ROINumber, roi.ROIName, roi.ReferencedFrameOfReferenceUID = 1, "organ", "1.2.8"
    ds.StructureSetROISequence = [roi]
    contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", 4
    contour.ContourData = [1, 1, 2.5, 4, 1, 2.5, 4, 4, 2.5, 1, 4, 2.5]
    drawn.ReferencedROINumber, drawn.ContourSequence = 1, [contour]
    ds.ROIContourSequence = [drawn]
    frame, study, series = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = "1.2.4"
    study.RTReferencedSeriesSequence = [series]
    frame.FrameOfReferenceUID, frame.RTReferencedStudySequence = "1.2.8", [study]
    ds.ReferencedFrameOfReferenceSequence = [frame]
    return ds


def dicom(rng: random.Random, folder: Path) -> None:
    """A CT series with contours, in which bytes of one file were changed."""
    source, out = folder / "dicom", folder / "converted"
    for part in (source, out):
        shutil.rmtree(part, ignore_errors=True)
    source.mkdir()
    changed = rng.choice(sorted(_series()))
    for name, data in _series().items():
        content = data[:132] + mutate_bytes(rng, data[132:]) if name == changed else data
        (source / name).write_bytes(content)
    mapping = folder / "mapping.json"
    mapping.unlink(missing_ok=True)
    done = convert_dicom(source, out, mapping_path=mapping, channels=[Channel(name="CT")])
    if done.faults:
        raise InputError("refused")
    for path in (*out.glob("imagesTr/*"), *out.glob("labelsTr/*")):
        io.read_raw(path)


IMAGE_TARGETS: dict[str, Callable[[random.Random, Path], None]] = {
    "nifti": nifti,
    "nrrd": _text_image(".nrrd"),
    "mha": _text_image(".mha"),
    "mhd": _text_image(".mhd"),
    "dicom": dicom,
}
