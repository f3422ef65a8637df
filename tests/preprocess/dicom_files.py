"""Small DICOM series and references for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

SHAPE, SPACING = (6, 20, 24), (2.5, 0.8, 0.7)
ORIGIN = (-30.0, -40.0, 100.0)
AXES = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
NAME, IDENTITY = "Kowalska^Anna", "PESEL-8211"


def write_series(
    folder: Path,
    voxels: np.ndarray,
    *,
    modality: str = "CT",
    study: str = "",
    description: str = "axial",
    patient: str = IDENTITY,
    frame: str = "",
    skip: tuple[int, ...] = (),
    shear: float = 0.0,
    axes: tuple[float, ...] = AXES,
    uid: str = "",
    in_plane: tuple[float, float] = SPACING[1:],
) -> list[pydicom.Dataset]:
    """Write (z, y, x) as one file a slice, in an order that is not that of the positions."""
    folder.mkdir(parents=True, exist_ok=True)
    study, frame = study or generate_uid(), frame or generate_uid()
    uid = uid or generate_uid()
    normal = np.cross(axes[:3], axes[3:])
    slices = []
    for z in np.random.default_rng(0).permutation(len(voxels)):
        if z in skip:
            continue
        storage = CTImageStorage if modality == "CT" else MRImageStorage
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = storage, generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        path = folder / f"{meta.MediaStorageSOPInstanceUID[-9:]}.dcm"
        ds = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
        ds.SOPClassUID, ds.SOPInstanceUID = storage, meta.MediaStorageSOPInstanceUID
        ds.PatientName, ds.PatientID = NAME, patient
        ds.PatientBirthDate, ds.PatientSex = "19820101", "F"
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, uid, frame
        ds.StudyDate, ds.StudyTime, ds.StudyID, ds.AccessionNumber = "20240101", "1200", "1", "A1"
        ds.ReferringPhysicianName, ds.PositionReferenceIndicator = "", ""
        ds.Modality, ds.SeriesDescription, ds.Manufacturer = modality, description, "maker"
        ds.SeriesNumber, ds.InstanceNumber = 1, int(z) + 1
        place = np.array(ORIGIN) + z * SPACING[0] * normal + np.array([0, z * shear, 0])
        ds.ImagePositionPatient = [float(v) for v in place]
        ds.ImageOrientationPatient = list(axes)
        ds.PixelSpacing, ds.SliceThickness = list(in_plane), SPACING[0]
        ds.Rows, ds.Columns = voxels.shape[1:]
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated = ds.BitsStored = 16
        ds.HighBit, ds.PixelRepresentation = 15, 0
        slope = 2 + int(z) if modality == "PT" else 1
        ds.RescaleIntercept, ds.RescaleSlope = -1024, slope
        stored = np.round((voxels[z] + 1024) / slope)
        ds.PixelData = stored.astype("<u2").tobytes()
        ds.save_as(path, enforce_file_format=True)
        slices.append(ds)
    return sorted(slices, key=lambda ds: ds.InstanceNumber)


def write_seg(path: Path, slices: list[pydicom.Dataset], masks: dict[str, np.ndarray]) -> None:
    """Write masks (z, y, x) as a DICOM-SEG through highdicom; segments may overlap."""
    import highdicom as hd
    from pydicom.sr.codedict import codes

    segments = [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=name,
            segmented_property_category=codes.SCT.Organ,
            segmented_property_type=codes.SCT.Liver,
            algorithm_type="MANUAL",
        )
        for number, name in enumerate(masks, start=1)
    ]
    seg = hd.seg.Segmentation(
        source_images=slices,
        pixel_array=np.stack(list(masks.values()), axis=-1).astype(np.uint8),
        segmentation_type="BINARY",
        segment_descriptions=segments,
        series_instance_uid=generate_uid(),
        series_number=5,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="maker",
        manufacturer_model_name="model",
        software_versions="1",
        device_serial_number="1",
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    seg.save_as(path)


def write_rtstruct(path: Path, series: Path, masks: dict[str, np.ndarray]) -> None:
    """Write masks (z, y, x) as the contours of an RTSTRUCT through rt-utils.

    It swaps the spacings of rows and columns, so the series needs square pixels.
    """
    from rt_utils import RTStructBuilder

    struct = RTStructBuilder.create_new(dicom_series_path=str(series))
    for name, mask in masks.items():
        struct.add_roi(mask=mask.transpose(1, 2, 0).astype(bool), name=name)
    path.parent.mkdir(parents=True, exist_ok=True)
    struct.save(str(path.with_suffix("")))
