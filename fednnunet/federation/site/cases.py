"""Which of a site's cases train and which are held out."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass

from fednnunet.dataset import Case, folds, list_images, read_dataset, split_cases
from fednnunet.errors import DataError, raise_all
from fednnunet.federation.spec import SiteSpec
from fednnunet.federation.training_spec import FOLDS, Training
from fednnunet.io import ending
from fednnunet.label_names import ValueMap
from fednnunet.planning.fingerprint import CaseFingerprint
from fednnunet.supervision import SiteSupervision
from fednnunet.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteCases:
    """A site's cases by their use; no case is in both, nor any patient."""

    training: tuple[Case, ...]
    held_out: tuple[Case, ...]


def training_folder(spec: SiteSpec, task: Task, *, site: str) -> tuple[Case, ...]:
    """All labelled cases of `imagesTr`, with patients as the site's `patient` pattern says."""
    cases = read_dataset(spec.folder, task, site=site, label_names=spec.label_names).cases
    return tuple(_with_patient(case, spec.patient, site) for case in cases)


def site_cases(spec: SiteSpec, task: Task, training: Training, *, site: str) -> SiteCases:
    """Split a site's cases: by fold, or else a test set if it has one, or else by a share.

    All cases of a patient stay together. With `max_cases` only the first of the training cases are
    taken; the others are not used at all. Raises InputError where there are fewer patients than
    folds.
    """
    split = _split(spec, task, training, site)
    maximum = training.max_cases or len(split.training)
    return dataclasses.replace(split, training=split.training[:maximum])


def _split(spec: SiteSpec, task: Task, training: Training, site: str) -> SiteCases:
    cases = training_folder(spec, task, site=site)
    if not spec.trains:
        return SiteCases(training=(), held_out=cases)
    if training.fold is not None:
        train, held_out = folds(cases, count=FOLDS)[training.fold]
        return SiteCases(training=train, held_out=held_out)
    test = _test_set(spec, task, site)
    if test:
        values = cases[0].values if cases else ValueMap()
        held_out = tuple(dataclasses.replace(case, values=values) for case in test)
        return SiteCases(training=cases, held_out=held_out)
    if training.held_out == 0:
        return SiteCases(training=cases, held_out=())
    seed = training.seed if training.split_seed is None else training.split_seed
    train, held_out = split_cases(cases, fraction=training.held_out, seed=seed)
    return SiteCases(training=train, held_out=held_out)


def check_annotated(
    cases: Sequence[Case],
    measured: Sequence[CaseFingerprint],
    task: Task,
    supervision: SiteSupervision,
    *,
    site: str,
) -> None:
    """Raise a DataError for every case whose label map holds a label that is not annotated here.

    Training would take such voxels for background. `measured` are the fingerprints of `cases`.
    """
    faults = [
        DataError(
            f"case {case.name} has label {value} ({task.labels[value]}), which the site does not "
            "annotate, as the federation file says",
            where=f"site {site}, {case.label}, {count:,} voxels",
            mend=f"add it to sites.{site}.annotated in the federation file, or correct the map",
        )
        for case, fingerprint in zip(cases, measured, strict=True)
        for value, count in enumerate(fingerprint.voxels_per_label)
        if count and value and not supervision.of(case.name).covers((value,), task)
    ]
    raise_all(f"label maps of site {site} hold labels that it does not annotate", faults)


def _test_set(spec: SiteSpec, task: Task, site: str) -> tuple[Case, ...]:
    labels = spec.folder / "labelsTs"
    if not labels.is_dir():
        return ()
    paths = [path for path in labels.iterdir() if ending(path)]
    found = {path.name.removesuffix(ending(path) or ""): path for path in paths}
    cases = list_images(spec.folder / "imagesTs", len(task.channels))
    missing = [case.name for case in cases if case.name not in found]
    if missing:
        raise DataError(
            f"{len(missing)} test images have no label, e.g. {missing[0]}",
            where=f"site {site}, {labels}",
            mend="add the label maps, or remove labelsTs",
        )
    return tuple(dataclasses.replace(case, label=found[case.name]) for case in cases)


def _with_patient(case: Case, pattern: str | None, site: str) -> Case:
    if not pattern:
        return case
    match = re.fullmatch(pattern, case.name)
    if not match:
        raise DataError(
            f"the name {case.name} does not match the pattern of patients {pattern!r}",
            where=f"site {site}",
            mend="correct sites.NAME.patient in the federation file",
        )
    return dataclasses.replace(case, group=match.group(1))
