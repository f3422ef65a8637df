"""Predict volumes and folders with one bundle, or with an ensemble of several."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from fednnunet import io
from fednnunet.dataset import Case
from fednnunet.errors import DataError, FedNNUNetError, InputError, StorageError
from fednnunet.inference.bundle import Bundle
from fednnunet.inference.compute import Compute, no_room
from fednnunet.inference.export import labels_of_logits
from fednnunet.inference.predicted import PredictedFolder
from fednnunet.inference.routing import Experts, route
from fednnunet.inference.sliding import predict_logits
from fednnunet.inference.trust import image_doubts, mask_doubts
from fednnunet.planning.plan import Configuration, Plan
from fednnunet.preprocess.pipeline import Placement, Prepared, prepare_volume
from fednnunet.progress import Progress
from fednnunet.volume import Geometry, Volume


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
    overwrite: bool = False
    """Predict cases again that have a mask."""
    strict: bool = False
    """Write no mask for a case that is unlike those of the plan."""


class ExtraOutput(Protocol):
    """What is written beside each mask, from the same logits."""

    def there(self, case: Case) -> bool:
        """Whether it is there already; a case is kept only then."""

    def write(self, case: Case, logits: np.ndarray, placement: Placement, mask: np.ndarray) -> None:
        """Write it: `logits` (k, z, y, x) are of the prepared volume, `mask` is native."""


def predict_volume(
    networks: Sequence[torch.nn.Module],
    plan: Plan,
    configuration: Configuration,
    volume: Volume,
    *,
    compute: Compute,
    mirror: bool = False,
) -> np.ndarray:
    """Label map (z, y, x) on the volume's own grid, from the mean logits of the networks.

    The networks are in eval mode on `compute.device` (see `Compute.place`). With `mirror` the
    logits of all flips are averaged, at eight (in 2D four) times the work.
    """
    prepared = prepare_volume(volume, plan, configuration)
    logits = _logits(networks, configuration, prepared, compute, mirror)
    return labels_of_logits(logits, prepared.placement, plan.task, configuration.resampling)


def predict_cases(
    bundles: Bundle | Sequence[Bundle],
    cases: Sequence[Case],
    folder: Path,
    *,
    compute: Compute,
    options: PredictOptions | None = None,
    extra: ExtraOutput | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Write a mask per case to `folder`, in the format of its first image.

    While one case is predicted, the next is read and preprocessed in a thread. A mask is kept if
    images, bundles and mirroring are the same as when it was written, unless `options` say to
    overwrite it. A case that cannot be predicted gives a fault; the others are predicted. A bundle
    of experts is mixed for each case, with the shares in `routing.json`. A case that is unlike
    those of the plan gets a warning, which `predictions.json` keeps, or, where `options` are
    strict, a fault and no mask. `extra` writes more from the same logits.
    """
    members = (bundles,) if isinstance(bundles, Bundle) else tuple(bundles)
    options = options or PredictOptions()
    _check_bundles(members, options.mirror)
    folder.mkdir(parents=True, exist_ok=True)
    job = _Job(bundles=members, folder=folder, compute=compute, options=options, extra=extra)
    models = [_Model(bundle, compute) for bundle in members]
    found = PredictedFolder(folder)
    written, kept = [], []
    faults: list[FedNNUNetError] = []
    for count, (case, pending) in enumerate(_ahead(cases, job, found.digests)):
        if progress:
            progress(count, len(cases), case.name)
        try:
            ready = pending.result()
            if ready.prepared is None:
                _refuse(found.warnings.get(case.name, ""), job, case)
                kept.append(case.name)
                continue
            shares, doubts = _predict_case(models, ready.prepared, ready.doubts, job, case)
        except StorageError:  # no other case would fare better
            raise
        except FedNNUNetError as fault:
            faults.append(_named(fault, case))
            continue
        found.add(case.name, ready.digest, doubts, shares)
        written.append(case.name)
    if progress:
        progress(len(cases), len(cases), "done")
    there = sorted({*written, *kept} & found.warnings.keys())
    return Outcome(
        written=tuple(written),
        kept=tuple(kept),
        faults=tuple(faults),
        warnings={name: found.warnings[name] for name in there},
    )


def _predict_case(
    models: Sequence[_Model], prepared: Prepared, doubts: tuple[str, ...], job: _Job, case: Case
) -> tuple[list[dict[str, float]], str]:
    """Write the mask of a case; returns the shares of experts, and why not to trust the mask."""
    plan, settings = job.bundles[0].plan, job.bundles[0].settings
    shares = [model.route(prepared.data) for model in models]
    networks = [model.network for model in models]
    placement, geometry = prepared.placement, prepared.placement.geometry
    logits = _logits(networks, settings, prepared, job.compute, job.options.mirror)
    mask = labels_of_logits(logits, placement, plan.task, settings.resampling)
    of_mask = mask_doubts(mask, math.prod(geometry.spacing_mm) / 1000, plan)
    warning = "; ".join((*doubts, *of_mask))
    _refuse(warning, job, case)
    if job.extra:
        job.extra.write(case, logits, placement, mask)
    _write(mask, geometry, case, job.folder)
    return shares, warning


def mask_path(folder: Path, case: Case) -> Path:
    """The path of a case's mask: its name with the ending of its first image."""
    return folder / f"{case.name}{io.ending(case.images[0])}"


class _Model:
    """A bundle's network on its device; with experts, their weights are mixed for each case."""

    def __init__(self, bundle: Bundle, compute: Compute) -> None:
        self.network = compute.place(bundle.network(), len(bundle.settings.patch_vox))
        self._bundle, self._compute = bundle, compute
        experts, device = bundle.experts, compute.device.torch_device
        self._experts = Experts.of(experts, device) if experts else None

    def route(self, data: np.ndarray) -> dict[str, float]:
        """Mix the experts for a preprocessed volume; returns their shares (empty without experts).

        Raises DataError if the device's memory is too small.
        """
        if self._experts is None:
            return {}
        plan, patch = self._bundle.plan, self._bundle.settings.patch_vox
        regions = bool(plan.task.regions)
        with suppress(torch.OutOfMemoryError):
            return route(
                self.network, self._experts, data, patch, regions=regions, compute=self._compute
            )
        raise no_room(self._compute.device)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Job:
    bundles: tuple[Bundle, ...]
    folder: Path
    compute: Compute
    options: PredictOptions
    extra: ExtraOutput | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Ready:
    """A case's digest, its preprocessed volume unless it has a mask, and doubts about its image."""

    digest: str
    prepared: Prepared | None
    doubts: tuple[str, ...] = ()


def _ahead(
    cases: Sequence[Case], job: _Job, done: dict[str, str]
) -> Iterator[tuple[Case, Future[_Ready]]]:
    """Each case with its preprocessing, which runs one case ahead in a thread."""
    earlier = dict(done)
    with ThreadPoolExecutor(max_workers=1) as pool:
        pending = [(c, pool.submit(_prepare, c, job, earlier.get(c.name))) for c in cases[:1]]
        for case in cases[1:]:
            pending.append((case, pool.submit(_prepare, case, job, earlier.get(case.name))))
            yield pending.pop(0)
        yield from pending


def _prepare(case: Case, job: _Job, earlier: str | None) -> _Ready:
    digest = _digest(case, job)
    there = mask_path(job.folder, case).is_file() and (not job.extra or job.extra.there(case))
    if not job.options.overwrite and digest == earlier and there:
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


def _refuse(doubts: str, job: _Job, case: Case) -> None:
    """Raise DataError for a case that is not to be trusted, where that was asked for."""
    if doubts and job.options.strict:
        raise DataError(
            f"the prediction should not be trusted: {doubts}",
            where=str(case.images[0]),
            mend="look at the image and its header; without --strict its mask is written",
        )


def _logits(
    networks: Sequence[torch.nn.Module],
    configuration: Configuration,
    prepared: Prepared,
    compute: Compute,
    mirror: bool,
) -> np.ndarray:
    """The mean logits (k, z, y, x) of the networks."""
    patch = configuration.patch_vox
    axes = tuple(range(len(patch))) if mirror else ()
    total: np.ndarray | None = None
    for network in networks:
        logits = predict_logits(network, prepared.data, patch, compute=compute, mirror_axes=axes)
        if total is None:
            total = logits
        else:
            total += logits
    if total is None:
        raise InputError("no network was given", mend="give at least one bundle")
    total /= len(networks)
    return total


def _write(mask: np.ndarray, geometry: Geometry, case: Case, folder: Path) -> None:
    path = mask_path(folder, case)
    if path.resolve() in {image.resolve() for image in case.images}:
        raise InputError(
            "the mask would overwrite its image",
            where=str(path),
            mend="choose another output folder",
        )
    io.write_mask(mask, geometry, path, like=case.images[0])


def _digest(case: Case, job: _Job) -> str:
    sums = sha256(f"mirror {job.options.mirror}".encode())
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


def _check_bundles(bundles: Sequence[Bundle], mirror: bool) -> None:
    """Bundles of an ensemble must have the same plan and configuration."""
    if not bundles:
        raise InputError("no bundle was given", mend="give at least one bundle")
    first = bundles[0]
    for bundle in bundles[1:]:
        same = dataclasses.replace(bundle.plan, reasons=first.plan.reasons) == first.plan
        if not same or bundle.configuration != first.configuration:
            raise InputError(
                "the bundles were trained with different plans or configurations",
                mend="predict with bundles of the same run",
            )
    if mirror and not all(bundle.mirrored for bundle in bundles):
        raise InputError(
            "the network was not trained on mirrored patches, so that mirroring would harm it",
            mend="predict without --mirror, or train with a recipe that mirrors, such as nnunet",
        )


def _named(fault: FedNNUNetError, case: Case) -> FedNNUNetError:
    """The fault with the case's name, if it names no place."""
    if fault.where or hasattr(fault, "faults"):
        return fault
    fault.where = f"case {case.name}"
    return fault
