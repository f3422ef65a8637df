"""Masks as DICOM: a DICOM-SEG, or an RTSTRUCT, on the planes of the image series they belong to.

Both name the series, its frame of reference and the patient of it, so they belong to the hospital
that has the images. The same mask on the same series gets the same identifiers.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fednnunet.errors import DataError
from fednnunet.files import replacing
from fednnunet.preprocess.dicom_label import affine
from fednnunet.preprocess.dicom_planes import Planes
from fednnunet.preprocess.dicom_scan import reading
from fednnunet.task import Task
from fednnunet.version import VERSION

Form = Literal["seg", "labelmap", "rtstruct"]
FORMS: tuple[Form, ...] = ("seg", "labelmap", "rtstruct")
_MAKER = "fednnunet"
_COLOURS = ((255, 157, 61), (53, 201, 214), (123, 214, 81), (255, 93, 143), (181, 140, 255))
_OF_PATIENT = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate",
    "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip


def write_dicom(path: Path, planes: Planes, mask: np.ndarray, task: Task, form: Form) -> None:
    """Write a mask (z, y, x) on the grid of `planes.volume` as a DICOM file, atomically.

    "seg" is a DICOM-SEG with a bit for each label, "labelmap" one with label numbers (newer
    viewers), "rtstruct" has the outlines. Raises DataError where the series lacks what it needs.
    """
    if mask.shape != planes.volume.shape_vox:
        raise DataError(
            f"the mask has the shape {list(mask.shape)}, its image {list(planes.volume.shape_vox)}",
            mend="give the mask that was predicted on this series",
        )
    own = planes.on_planes(mask)
    with reading(f"a {planes.series.modality} series as the source of a mask", planes.series.where):
        make = _structures if form == "rtstruct" else _segmentation
        dataset = make(planes, own, task, form)
    with replacing(path) as temporary:
        dataset.save_as(temporary, enforce_file_format=True)


def outlines(mask: np.ndarray) -> list[np.ndarray]:
    """The outlines of a bool mask (row, column), each (n, 2) in voxels, half way between centres.

    Holes have outlines of their own, so a voxel is in the mask if it is in an odd number of them.
    """
    from skimage.measure import find_contours

    found = find_contours(np.pad(mask, 1).astype(np.float32), 0.5)
    return [line[:-1] - 1 for line in found]


def _segmentation(planes: Planes, mask: np.ndarray, task: Task, form: Form) -> Any:
    import highdicom as hd
    from pydicom.sr.codedict import codes

    source = _headers(planes)
    how = hd.AlgorithmIdentificationSequence(
        name=_MAKER, family=codes.DCM.ArtificialIntelligence, version=VERSION
    )
    segments = [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=name[:64],
            segmented_property_category=codes.SCT.Tissue,
            segmented_property_type=codes.SCT.Tissue,
            algorithm_type="AUTOMATIC",
            algorithm_identification=how,
        )
        for number, name in enumerate(task.labels[1:], start=1)
    ]
    array: Any = _without_ignored(mask, task)
    if planes.offsets_vox is None:
        array = hd.Volume(
            array,
            affine(planes.volume),
            coordinate_system="PATIENT",
            frame_of_reference_uid=source[0].FrameOfReferenceUID,
        )
    return hd.seg.Segmentation(
        source_images=source,
        pixel_array=array,
        segmentation_type="LABELMAP" if form == "labelmap" else "BINARY",
        segment_descriptions=segments,
        series_instance_uid=_uid(planes, mask, form, "series"),
        series_number=900,
        sop_instance_uid=_uid(planes, mask, form, "file"),
        instance_number=1,
        manufacturer=_MAKER,
        manufacturer_model_name=_MAKER,
        software_versions=VERSION,
        device_serial_number="0",
        content_label="PREDICTION",
        series_description=f"{task.name[:40]} (research only)",
    )


def _structures(planes: Planes, mask: np.ndarray, task: Task, form: Form) -> Any:
    from pydicom.uid import RTStructureSetStorage

    source = _headers(planes)
    found = _new_file(RTStructureSetStorage, _uid(planes, mask, form, "file"))
    for name in _OF_PATIENT:
        setattr(found, name, source[0].get(name, ""))
    now = datetime.now(UTC)
    found.Modality, found.Manufacturer, found.SeriesNumber = "RTSTRUCT", _MAKER, 901
    found.SeriesInstanceUID = _uid(planes, mask, form, "series")
    found.SeriesDescription = f"{task.name[:40]} (research only)"
    found.StructureSetLabel = "PREDICTION"
    found.StructureSetDate = f"{now:%Y%m%d}"
    found.StructureSetTime = f"{now:%H%M%S}"
    found.FrameOfReferenceUID = source[0].FrameOfReferenceUID
    found.ReferencedFrameOfReferenceSequence = [_referenced(source)]
    regions, contours, observations = [], [], []
    for number, name in enumerate(task.labels[1:], start=1):
        regions.append(
            _item(
                ROINumber=number,
                ReferencedFrameOfReferenceUID=source[0].FrameOfReferenceUID,
                ROIName=name[:64],
                ROIGenerationAlgorithm="AUTOMATIC",
            )
        )
        contours.append(
            _item(
                ROIDisplayColor=list(_COLOURS[(number - 1) % len(_COLOURS)]),
                ReferencedROINumber=number,
                ContourSequence=_contours(planes, mask == number, source),
            )
        )
        observations.append(
            _item(
                ObservationNumber=number,
                ReferencedROINumber=number,
                RTROIInterpretedType="",
                ROIInterpreter="",
            )
        )
    found.StructureSetROISequence = regions
    found.ROIContourSequence = contours
    found.RTROIObservationsSequence = observations
    return found


def _contours(planes: Planes, mask: np.ndarray, source: list[Any]) -> list[Any]:
    """The outlines of one label on every plane, in mm (x, y, z)."""
    column, row = planes.axes
    items = []
    for number in np.flatnonzero(mask.any(axis=(1, 2))):
        image = source[number if len(source) > 1 else 0]
        place = {
            "ReferencedSOPClassUID": image.SOPClassUID,
            "ReferencedSOPInstanceUID": image.SOPInstanceUID,
        }
        if len(source) == 1:
            place["ReferencedFrameNumber"] = _frame_numbers(planes, image)[number]
        for line in outlines(mask[number]):
            points = planes.origins_mm[number] + line[:, :1] * row + line[:, 1:] * column
            items.append(
                _item(
                    ContourImageSequence=[_item(**place)],
                    ContourGeometricType="CLOSED_PLANAR",
                    NumberOfContourPoints=len(points),
                    ContourData=[f"{value:.5f}"[:16] for value in points.ravel()],
                )
            )
    return items


def _frame_numbers(planes: Planes, image: Any) -> list[int]:
    """The frame of a multi-frame file on each plane: the one whose position is nearest."""
    positions = np.array(
        [
            frame.PlanePositionSequence[0].ImagePositionPatient
            for frame in image.PerFrameFunctionalGroupsSequence
        ],
        dtype=np.float64,
    )
    distances = np.linalg.norm(planes.origins_mm[:, None] - positions[None], axis=2)
    return [int(number) + 1 for number in distances.argmin(axis=1)]


def _referenced(source: list[Any]) -> Any:
    images = [
        _item(ReferencedSOPClassUID=one.SOPClassUID, ReferencedSOPInstanceUID=one.SOPInstanceUID)
        for one in source
    ]
    series = _item(SeriesInstanceUID=source[0].SeriesInstanceUID, ContourImageSequence=images)
    study = _item(
        ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1",  # study management, retired, but required
        ReferencedSOPInstanceUID=source[0].StudyInstanceUID,
        RTReferencedSeriesSequence=[series],
    )
    return _item(
        FrameOfReferenceUID=source[0].FrameOfReferenceUID, RTReferencedStudySequence=[study]
    )


def _headers(planes: Planes) -> list[Any]:
    import pydicom

    return [pydicom.dcmread(path, stop_before_pixels=True) for path in planes.files]


def _new_file(storage: str, uid: str) -> Any:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    meta: Any = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = storage, uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    found = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    found.SOPClassUID, found.SOPInstanceUID = storage, uid
    return found


def _item(**values: Any) -> Any:
    from pydicom.dataset import Dataset

    found = Dataset()
    for name, value in values.items():
        setattr(found, name, value)
    return found


def _without_ignored(mask: np.ndarray, task: Task) -> np.ndarray:
    kept = np.where(mask < len(task.labels), mask, 0)
    return kept.astype(np.uint8 if len(task.labels) < 256 else np.uint16)


def _uid(planes: Planes, mask: np.ndarray, form: Form, what: str) -> str:
    """An identifier that depends on the series, the mask, and the form."""
    from pydicom.uid import generate_uid

    digest = hashlib.sha256(np.ascontiguousarray(mask).tobytes()).hexdigest()
    return str(generate_uid(entropy_srcs=[planes.series.uid, digest, form, what]))
