"""Predict volumes and folders with one bundle, or with an ensemble of several."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import numpy as np

from fednnunet import io
from fednnunet.dataset import Case
from fednnunet.errors import DataError, FedNNUNetError, InputError, StorageError
from fednnunet.files import storing
from fednnunet.inference.ahead import Ahead, Behind
from fednnunet.inference.bundle import Bundle
from fednnunet.inference.compute import Compute
from fednnunet.inference.ensemble import Ensemble, Vote
from fednnunet.inference.export import Predicted, Wanted
from fednnunet.inference.extra_files import ExtraFiles, ProbabilityFormat
from fednnunet.inference.memory import Memory, case_bytes
from fednnunet.inference.predicted import PredictedFolder
from fednnunet.inference.trust import image_doubts, mask_doubts
from fednnunet.planning.plan import Plan
from fednnunet.preprocess.pipeline import Prepared, prepare_volume
from fednnunet.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result for a folder: cases predicted, cases that had a mask already, and faults."""

    written: tuple[str, ...]
    kept: tuple[str, ...]
    faults: tuple[FedNNUNetError, ...]
    warnings: dict[str, str] = field(default_factory=dict)
    """Of the cases with a mask that should not be trusted: why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictOptions:
    """How cases are predicted."""

    mirror: bool = False
    """Average the logits of all flips, at eight (in 2D four) times the work."""
    step: float = 0.5
    """The distance of two tiles in patches, above 0 and at most 1."""
    weights: tuple[float, ...] = ()
    """The weight of each bundle; without any, all count alike."""
    memory_gib: float = 0.0
    """Memory of the process to keep within; 0 is what the machine has free."""
    overwrite: bool = False
    """Predict cases again that have a mask."""
    strict: bool = False
    """Write no mask for a case that is unlike those of the plan."""
    probabilities: ProbabilityFormat = "none"
    """Also write probabilities of all classes: `nifti` (uint16 with a slope) or `npz` (float16, as
    nnU-Net's)."""
    uncertainty: bool = False
    """Also write the entropy, and the spread over networks and flips if there are several."""
    lowres: bool = False
    """Also write the mask on the grid of the plan's spacing."""


class ExtraOutput(Protocol):
    """What is written beside each mask, from the same logits."""

    def there(self, case: Case) -> bool:
        """Whether it is there already; a case is kept only then."""

    @property
    def wanted(self) -> Wanted:
        """What it needs besides the mask."""

    def clear(self, case: Case) -> None:
        """Remove what is there of a case."""

    def write(self, case: Case, predicted: Predicted) -> None:
        """Write it."""


def predict_cases(
    bundles: Bundle | Sequence[Bundle],
    cases: Sequence[Case],
    folder: Path,
    *,
    compute: Compute,
    options: PredictOptions | None = None,
    extra: ExtraOutput | None = None,
    progress: Progress | None = None,
    tiles: Progress | None = None,
) -> Outcome:
    """Write a mask per case to `folder`, in the format of its first image.

    While one case is predicted, others are read and preprocessed in a thread as far as the memory
    allows, and the one before is written in another. A mask is kept if images, bundles and the way
    they vote are the same as when it was written, unless `options` say to overwrite it. A case that
    cannot be predicted gives a fault; the others are predicted. A bundle of experts is mixed for
    each case, with the shares in `routing.json`. A case that is unlike those of the plan gets a
    warning, which `predictions.json` keeps, or, where `options` are strict, a fault and no mask.
    `extra` writes more from the same logits, by default what `options` say. `progress` is told of
    cases, `tiles` of the tiles of the present one.
    """
    members = (bundles,) if isinstance(bundles, Bundle) else tuple(bundles)
    options = options or PredictOptions()
    memory = Memory.of(options.memory_gib)
    vote = Vote(mirror=options.mirror, step=options.step, weights=options.weights, memory=memory)
    ensemble = Ensemble(members, compute=compute, vote=vote)
    folder.mkdir(parents=True, exist_ok=True)
    extra = extra or _extra_files(folder, options, ensemble.views)
    job = _Job(bundles=members, plan=ensemble.plan, folder=folder, options=options, extra=extra)
    book = _Book(job, PredictedFolder(folder))
    reader = Ahead(
        cases,
        partial(_prepare, job=job, done=dict(book.found.digests)),
        size=partial(case_bytes, configuration=ensemble.settings),
        room=memory.ahead,
    )
    writer: Behind[_Case, str] = Behind(book.written)
    try:
        for count, (case, read) in enumerate(reader):
            if progress:
                progress(count, len(cases), case.name)
            with book.faults_of(case):
                ready = read()
                if ready.prepared is None:
                    book.keep(case)
                    continue
                shares = ensemble.route(ready.prepared)
                predicted = ensemble.predict(
                    ready.prepared, extra.wanted, reserved=reader.reserved, progress=tiles
                )
                done = book.begun(case, ready.digest, shares)
                finish = partial(ensemble.finish, predicted)
                writer.write(done, partial(_write, finish, ready.doubts, job, done))
        writer.wait()
    finally:
        writer.close()
    if progress:
        progress(len(cases), len(cases), "done")
    return book.outcome(cases)


def _extra_files(folder: Path, options: PredictOptions, views: int) -> ExtraFiles:
    return ExtraFiles(
        folder=folder,
        probabilities=options.probabilities,
        uncertainty=options.uncertainty,
        spread=options.uncertainty and views > 1,
        lowres=options.lowres,
    )


def mask_path(folder: Path, case: Case) -> Path:
    """The path of a case's mask: its name with the ending of its first image."""
    return folder / f"{case.name}{io.ending(case.images[0])}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Job:
    bundles: tuple[Bundle, ...]
    plan: Plan
    folder: Path
    options: PredictOptions
    extra: ExtraOutput


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Ready:
    """A case's digest, its preprocessed volume unless it has a mask, and doubts about its image."""

    digest: str
    prepared: Prepared | None
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Case:
    """A case whose mask is being written, and what is to be noted of it."""

    case: Case
    digest: str
    changed: bool
    """Whether what is there of the case is from other images, bundles or options, or unknown."""
    shares: list[dict[str, float]]


class _Book:
    """What has become of each case."""

    def __init__(self, job: _Job, found: PredictedFolder) -> None:
        self.found, self._job = found, job
        self._written: list[str] = []
        self._kept: list[str] = []
        self._faults: dict[str, FedNNUNetError] = {}

    @contextmanager
    def faults_of(self, case: Case) -> Iterator[None]:
        """Note a fault of the case, and go on; a disk that fails would fail every case."""
        try:
            yield
        except StorageError:
            raise
        except FedNNUNetError as fault:
            self._faults[case.name] = _named(fault, case)

    def begun(self, case: Case, digest: str, shares: list[dict[str, float]]) -> _Case:
        """What is to be noted of a case once its mask is written."""
        there = mask_path(self._job.folder, case).is_file()
        changed = not there or self.found.digests.get(case.name) != digest
        return _Case(case=case, digest=digest, changed=changed, shares=shares)

    def keep(self, case: Case) -> None:
        """Note that the case has its mask already; raises DataError if that is not good enough."""
        _refuse(self.found.warnings.get(case.name, ""), self._job, case)
        self._kept.append(case.name)

    def written(self, done: _Case, result: Callable[[], str]) -> None:
        """Note a mask that was written with the warning that `result` returns, or its fault."""
        with self.faults_of(done.case):
            self.found.add(done.case.name, done.digest, result(), done.shares)
            self._written.append(done.case.name)

    def outcome(self, cases: Sequence[Case]) -> Outcome:
        """The result for the cases, in their order."""
        there = sorted({*self._written, *self._kept} & self.found.warnings.keys())
        return Outcome(
            written=tuple(self._written),
            kept=tuple(self._kept),
            faults=tuple(self._faults[c.name] for c in cases if c.name in self._faults),
            warnings={name: self.found.warnings[name] for name in there},
        )


def _prepare(case: Case, job: _Job, done: dict[str, str]) -> _Ready:
    digest = _digest(case, job)
    there = mask_path(job.folder, case).is_file() and job.extra.there(case)
    if not job.options.overwrite and digest == done.get(case.name) and there:
        return _Ready(digest=digest, prepared=None)
    bundle = job.bundles[0]
    volume = io.read_volume(case.images)
    if not np.isfinite(volume.array).all():
        raise InputError(
            f"{int((~np.isfinite(volume.array)).sum())} voxels are NaN or infinite",
            where=str(case.images[0]),
            mend="export the image again, or replace these voxels",
        )
    doubts = image_doubts(volume, bundle.plan)
    _refuse("; ".join(doubts), job, case)
    prepared = prepare_volume(volume, bundle.plan, bundle.settings)
    return _Ready(digest=digest, prepared=prepared, doubts=doubts)


def _write(finish: Callable[[], Predicted], doubts: tuple[str, ...], job: _Job, done: _Case) -> str:
    """Write everything of a case, its mask last; returns why not to trust the mask.

    What is there from other inputs is removed first, whether or not it is written now: nothing of
    it may lie beside the new mask, and no mask beside a digest that is not its own.
    """
    predicted, case = finish(), done.case
    geometry, path = predicted.placement.geometry, mask_path(job.folder, case)
    voxel_ml = math.prod(geometry.spacing_mm) / 1000
    warning = "; ".join((*doubts, *mask_doubts(predicted.mask, voxel_ml, job.plan)))
    _refuse(warning, job, case)
    if path.resolve() in {image.resolve() for image in case.images}:
        raise InputError(
            "the mask would overwrite its image",
            where=str(path),
            mend="choose another output folder",
        )
    if done.changed:
        with storing(path):
            path.unlink(missing_ok=True)
        job.extra.clear(case)
    job.extra.write(case, predicted)
    io.write_mask(predicted.mask, geometry, path, like=case.images[0])
    return warning


def _refuse(doubts: str, job: _Job, case: Case) -> None:
    """Raise DataError for a case that is not to be trusted, where that was asked for."""
    if doubts and job.options.strict:
        raise DataError(
            f"the prediction should not be trusted: {doubts}",
            where=str(case.images[0]),
            mend="look at the image and its header; without --strict its mask is written",
        )


def _digest(case: Case, job: _Job) -> str:
    options = job.options
    sums = sha256(f"mirror {options.mirror}".encode())
    if (options.step, options.weights) != (0.5, ()):
        sums.update(f"step {options.step} weights {options.weights}".encode())
    for bundle in job.bundles:
        sums.update(bundle.digest.encode())
    for path in case.images:
        try:
            with path.open("rb") as stream:
                while block := stream.read(1 << 20):
                    sums.update(block)
        except OSError as error:
            raise InputError(
                f"{path.name} cannot be read: {error.strerror}",
                where=str(path),
                mend="check that the file exists and may be read",
            ) from None
    return sums.hexdigest()


def _named(fault: FedNNUNetError, case: Case) -> FedNNUNetError:
    """The fault with the case's name, if it names no place."""
    if fault.where or hasattr(fault, "faults"):
        return fault
    fault.where = f"case {case.name}"
    return fault
