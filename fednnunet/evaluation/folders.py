"""Score a folder of predicted masks against a folder of references."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fednnunet import io
from fednnunet.errors import DataError, FedNNUNetError, InputError, raise_all
from fednnunet.evaluation.metrics import CaseScores, MetricSettings, score_mask
from fednnunet.progress import Progress
from fednnunet.task import MAX_LABELS, Task
from fednnunet.volume import Volume


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A prediction and its reference: two label maps of one case."""

    case: str
    predicted: Path
    reference: Path


def pair_cases(predictions: Path, references: Path, *, partial: bool = False) -> tuple[Pair, ...]:
    """Match label maps by name; their formats may differ.

    A reference without a prediction is a fault unless `partial`, since the mean would be too high
    without it. Predictions without a reference are ignored unless nothing matches, so that one
    folder may hold the masks of several sites.
    """
    ours, theirs = _masks(predictions), _masks(references)
    common = sorted(ours.keys() & theirs.keys())
    if not common:
        raise InputError(
            f"no mask in {predictions} has a reference of the same name in {references}",
            where=f"{len(ours)} predictions, {len(theirs)} references",
            mend="name both case.nii.gz, without a channel number",
        )
    missing = [] if partial else sorted(theirs.keys() - ours.keys())
    faults = [
        InputError(
            f"case {name} has a reference and no prediction",
            where=str(predictions),
            mend="predict the case, or use --partial to score only predicted cases",
        )
        for name in missing
    ]
    raise_all("the predictions are incomplete", faults)
    return tuple(Pair(case=n, predicted=ours[n], reference=theirs[n]) for n in common)


def score_pairs(
    pairs: Sequence[Pair],
    task: Task,
    *,
    settings: MetricSettings | None = None,
    progress: Progress | None = None,
) -> tuple[CaseScores, ...]:
    """Score every pair; the faults of all pairs are raised together."""
    scores, faults = [], []
    for count, pair in enumerate(pairs):
        if progress:
            progress(count, len(pairs), pair.case)
        try:
            scores.append(_score(pair, task, settings))
        except FedNNUNetError as fault:
            faults.append(fault)
    raise_all("some masks cannot be scored", faults)
    return tuple(scores)


def read_task(path: Path) -> Task:
    """The labels that a `dataset.json` names, as a task; its regions and ignore label too.

    Raises InputError if the file is missing, unreadable, or has no usable labels.
    """
    try:
        header = json.loads(path.read_text(encoding="utf-8"))
        named = dict(header["labels"])
        channels = header.get("channel_names", header.get("modality", {"0": "image"}))
        return _task(str(header.get("name", path.parent.name)), dict(channels), named)
    except OSError:
        raise InputError(
            f"{path.name} is missing",
            where=str(path),
            mend="give the path of a dataset.json with --task",
        ) from None
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise InputError(
            f"{path.name} has no labels that can be read: {error}",
            where=str(path),
            mend='write "labels": {"background": 0, "organ": 1}',
        ) from None


def read_patients(path: Path) -> dict[str, str]:
    """The patient of each case that the `groups` of a `dataset.json` name; empty without any."""
    try:
        groups = json.loads(path.read_text(encoding="utf-8")).get("groups", {})
        return {str(case): str(patient) for case, patient in dict(groups).items()}
    except (OSError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise InputError(
            f"the groups in {path.name} cannot be read: {error}",
            where=str(path),
            mend='write "groups": {"case": "patient"}',
        ) from None


def _task(name: str, channels: dict[str, Any], named: dict[str, Any]) -> Task:
    if all(isinstance(value, str) for value in named.values()):  # version 1: {"0": "background"}
        named = {label: int(value) for value, label in named.items()}
    ignore = named.pop("ignore", None)
    single = {k: v for k, v in named.items() if isinstance(v, int)}
    lists = {k: tuple(v) for k, v in named.items() if not isinstance(v, int)}
    regions = {**{k: (v,) for k, v in single.items() if v}, **lists} if lists else {}
    highest = max([*single.values(), *(v for region in lists.values() for v in region)])
    if highest >= MAX_LABELS:
        raise ValueError(f"the label value {highest}, more than {MAX_LABELS - 1}")
    by_value = {value: label for label, value in single.items() if label not in lists}
    labels = [by_value.get(v, "background" if not v else f"label {v}") for v in range(highest + 1)]
    order = [str(channels[key]) for key in sorted(channels, key=int)]
    return Task(
        name=name, channels=tuple(order), labels=tuple(labels), regions=regions, ignore=ignore
    )


def read_pair(pair: Pair, task: Task) -> tuple[Volume, Volume]:
    """The prediction and the reference of a case, on one grid and with the task's labels only.

    Raises DataError for masks on different grids, and for values that are not the task's.
    """
    predicted, reference = io.read_label(pair.predicted), io.read_label(pair.reference)
    difference = io.grid_difference(reference, predicted)
    if difference:
        raise DataError(
            f"{difference} of the prediction differs from the reference's",
            where=f"case {pair.case}, {pair.predicted}",
            mend="predict on the image that the reference was made for",
        )
    for volume, path in ((predicted, pair.predicted), (reference, pair.reference)):
        if unknown := _unknown_values(volume.array, task):
            raise DataError(
                f"label {', '.join(map(str, unknown))} is not one of the task's labels "
                f"{', '.join(map(str, task.values))}",
                where=f"case {pair.case}, {path}",
                mend="correct the mask, or give the right labels with --task",
            )
    return predicted, reference


def _score(pair: Pair, task: Task, settings: MetricSettings | None) -> CaseScores:
    predicted, reference = read_pair(pair, task)
    return score_mask(
        predicted.array[0],
        reference.array[0],
        reference.spacing_mm,
        task,
        case=pair.case,
        settings=settings,
    )


def _unknown_values(labels: np.ndarray, task: Task) -> list[int]:
    """The values of a label map that are not the task's; a sort only where there are some."""
    if labels.dtype == np.int16:
        known = np.zeros(2**16, bool)
        known[list(task.values)] = True
        if known[labels.view(np.uint16)].all():
            return []
    return sorted(set(np.unique(labels).tolist()) - set(task.values))


def _masks(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise InputError(
            f"the folder {folder} is missing",
            where=str(folder),
            mend="correct the path of the folder",
        )
    paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    return {p.name[: -len(e)]: p for p in paths if (e := io.ending(p)) is not None}
