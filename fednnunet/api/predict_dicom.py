"""Predict a folder of DICOM series; masks come as NIfTI, and as DICOM beside them."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from fednnunet import io
from fednnunet.api.predict import Bundles, PredictProgress, load_bundles
from fednnunet.dataset import list_images
from fednnunet.errors import DataError, FedNNUNetError, InputError, StorageError
from fednnunet.inference.compute import choose_compute
from fednnunet.inference.ensemble import check_bundles
from fednnunet.inference.predict import Outcome, PredictOptions, predict_cases
from fednnunet.preprocess.dicom_cases import Channel, DicomCase, images_alone
from fednnunet.preprocess.dicom_out import FORMS, Form, write_dicom
from fednnunet.preprocess.dicom_planes import Planes, read_planes
from fednnunet.preprocess.dicom_scan import Series, require_dicom, scan
from fednnunet.task import Task
from fednnunet.text import choices

ENDINGS: dict[Form, str] = {
    "seg": ".seg.dcm",
    "labelmap": ".labelmap.dcm",
    "rtstruct": ".rtstruct.dcm",
}
"""What is added to a case's name for each form."""


def predict_dicom(
    bundles: Bundles,
    folder: Path | str,
    output: Path | str,
    *,
    forms: Sequence[str] = ("seg",),
    channels: Sequence[Channel] = (),
    device: str = "auto",
    options: PredictOptions | None = None,
    progress: PredictProgress | None = None,
) -> Outcome:
    """Write the masks of every image series under `folder` to `output`, with DICOM in `forms`.

    Without `forms` there are NIfTI masks only.

    A case is named by the identifier of its (first) series. `channels` gives a regular expression
    for the description of each channel's series; a task with one channel needs none. Tilted and
    multi-frame series are predicted on an upright grid (see `preprocess.dicom_planes`), which is
    that of the NIfTI mask. What cannot be read is in the outcome's `faults`. Raises InputError for
    an unknown form, or a folder without an image series.
    """
    require_dicom()
    wanted_forms = _forms(forms)
    loaded = load_bundles(bundles)
    options = options or PredictOptions()
    check_bundles(loaded, options.mirror)
    task = loaded[0].plan.task
    wanted = _channels(task, channels)
    series, damaged = scan(Path(folder))
    found = images_alone(series, wanted)
    faults: list[FedNNUNetError] = [*damaged, *found.faults]
    if not (found.cases or faults):
        raise InputError(
            "there is no image series in the folder",
            where=str(folder),
            mend="give a folder with the DICOM files of CT, MR or PT series",
        )
    out = Path(output)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".dicom-") as place:
        images = Path(place)
        cases = _write_images(found.cases, images, faults)
        outcome = Outcome(written=(), kept=(), faults=())
        if cases:
            outcome = predict_cases(
                loaded,
                list_images(images, len(task.channels)),
                out,
                compute=choose_compute(device),
                options=options,
                progress=progress.cases if progress else None,
                tiles=progress.tiles if progress else None,
            )
    done = {name: cases[name] for name in (*outcome.written, *outcome.kept)}
    if wanted_forms:
        faults += _write_masks(done, out, task, wanted_forms)
    return dataclasses.replace(outcome, faults=(*faults, *outcome.faults))


def _forms(given: Sequence[str]) -> list[Form]:
    found = []
    for name in given:
        if name not in FORMS:
            raise InputError(f"there is no form of DICOM masks {name!r}", mend=choices(name, FORMS))
        found += [form for form in FORMS if form == name]
    return found


def _channels(task: Task, given: Sequence[Channel]) -> list[Channel]:
    if not given and len(task.channels) == 1:
        return [Channel(name=task.channels[0])]
    if [channel.name for channel in given] != list(task.channels):
        raise InputError(
            f"the series of the channels {list(task.channels)} are not known",
            mend="name them all in this order, with a pattern of their series' descriptions: "
            + ",".join(f"{name}=PATTERN" for name in task.channels),
        )
    return list(given)


def _write_images(
    cases: Sequence[DicomCase], folder: Path, faults: list[FedNNUNetError]
) -> dict[str, DicomCase]:
    """Write the images of each case that can be read; the others' faults are added to `faults`."""
    written = {}
    for case in cases:
        name = _name(case.channels[0])
        try:
            planes = [read_planes(series) for series in case.channels]
            _check_grid(planes)
            for channel, one in enumerate(planes):
                io.write_volume(one.volume, folder / f"{name}_{channel:04d}.nii.gz")
            written[name] = case
        except FedNNUNetError as fault:
            faults.append(fault)
    return written


def _check_grid(planes: Sequence[Planes]) -> None:
    for one in planes[1:]:
        if difference := io.grid_difference(planes[0].volume, one.volume):
            raise DataError(
                f"the channels of a study are not on one grid: {difference}",
                where=one.series.where,
                mend="register and resample them onto one grid first",
            )


def _name(series: Series) -> str:
    """The series' identifier; a hash of one that is none, so that it names no other folder."""
    if re.fullmatch(r"[0-9][0-9.]{0,63}", series.uid):
        return series.uid
    return hashlib.sha256(series.uid.encode()).hexdigest()[:32]


def _write_masks(
    cases: Mapping[str, DicomCase], out: Path, task: Task, forms: Sequence[Form]
) -> list[FedNNUNetError]:
    """Write each case's mask in every form, and return the faults of those that cannot be.

    Each series is read again, so that one is held at a time.
    """
    faults: list[FedNNUNetError] = []
    for name, case in cases.items():
        try:
            mask = io.read_label(out / f"{name}.nii.gz").array[0]
            planes = read_planes(case.channels[0])
            for form in forms:
                write_dicom(out / f"{name}{ENDINGS[form]}", planes, mask, task, form)
        except StorageError:  # no other case would fare better
            raise
        except FedNNUNetError as fault:
            faults.append(fault)
    return faults
