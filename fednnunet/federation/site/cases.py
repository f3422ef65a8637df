"""Which of a site's cases train and which are held out."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field

from fednnunet.dataset import (
    Case,
    Dataset,
    folds,
    list_images,
    read_dataset,
    split_cases,
    supervision_of,
)
from fednnunet.errors import DataError
from fednnunet.federation.site.doubtful import screen
from fednnunet.federation.site.policy import SitePolicy
from fednnunet.federation.spec import SiteSpec
from fednnunet.federation.training_checks import FOLDS
from fednnunet.federation.training_spec import Training
from fednnunet.io import ending
from fednnunet.supervision import SiteSupervision, Supervision
from fednnunet.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteCases:
    """A site's cases by their use; no case is in both, nor any patient.

    `weights` says how often training cases are sampled, against 1 of those that it does not name.
    """

    training: tuple[Case, ...]
    held_out: tuple[Case, ...]
    weights: dict[str, float] = field(default_factory=dict)

    @property
    def scored(self) -> tuple[Case, ...]:
        """The held-out cases that can be scored; a site that does not train may have others."""
        return tuple(case for case in self.held_out if case.labels.can_score)

    def supervision(self, agreed: Supervision) -> SiteSupervision:
        """What is known of each case, by its name; `agreed` is what holds for most.

        Of two cases with one name, in training and in a test set, that of the training.
        """
        return supervision_of((*self.held_out, *self.training), agreed)


def training_folder(spec: SiteSpec, task: Task, *, site: str) -> tuple[Case, ...]:
    """All cases of `imagesTr`, with patients as the site's `patient` pattern says."""
    return _with_patients(_dataset(spec, task, site), spec, site)


def _dataset(spec: SiteSpec, task: Task, site: str) -> Dataset:
    agreed, names = spec.agreed_labels(task), spec.label_names
    return read_dataset(spec.folder, task, site=site, agreed=agreed, label_names=names)


def _with_patients(dataset: Dataset, spec: SiteSpec, site: str) -> tuple[Case, ...]:
    return tuple(_with_patient(case, spec.patient, site) for case in dataset.cases)


def site_cases(
    spec: SiteSpec, task: Task, training: Training, policy: SitePolicy | None = None, *, site: str
) -> SiteCases:
    """Split a site's cases: by fold, or else a test set if it has one, or else by a share.

    All cases of a patient stay together. Only cases that can be scored are held out, those with
    complete label maps of all classes or some; the others train. With `max_cases` only the first of
    the training cases are taken; the others are not used at all. Of these, `training.noisy` says
    what becomes of the cases on the list of doubtful labels that the site's `policy` names. Raises
    InputError where there are fewer patients than folds.
    """
    split = _split(spec, task, training, site)
    maximum = training.max_cases or len(split.training)
    listed = policy.doubtful_labels if policy else ""
    path = spec.folder / listed if listed else None
    screened = screen(split.training[:maximum], path, training.noisy, site=site)
    return dataclasses.replace(split, training=screened.cases, weights=screened.weights)


def _split(spec: SiteSpec, task: Task, training: Training, site: str) -> SiteCases:
    dataset = _dataset(spec, task, site)
    cases = _with_patients(dataset, spec, site)
    if not spec.trains:
        return SiteCases(training=(), held_out=cases)
    if training.fold is not None:
        train, held_out = folds(cases, count=FOLDS)[training.fold]
        return SiteCases(training=train, held_out=held_out)
    test = _test_set(spec, dataset, site)
    if test:
        return SiteCases(training=cases, held_out=test)
    if training.held_out == 0:
        return SiteCases(training=cases, held_out=())
    seed = training.seed if training.split_seed is None else training.split_seed
    train, held_out = split_cases(cases, fraction=training.held_out, seed=seed)
    return SiteCases(training=train, held_out=held_out)


def _test_set(spec: SiteSpec, dataset: Dataset, site: str) -> tuple[Case, ...]:
    labels = spec.folder / "labelsTs"
    if not labels.is_dir():
        return ()
    paths = [path for path in labels.iterdir() if ending(path)]
    found = {path.name.removesuffix(ending(path) or ""): path for path in paths}
    cases = list_images(spec.folder / "imagesTs", len(dataset.channels))
    labels_of = dataset.test_labels
    labelled = (dataclasses.replace(case, labels=labels_of[case.name]) for case in cases)
    cases = tuple(case for case in labelled if case.labels.can_score)
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
