"""Predict volumes and folders with one bundle, or with an ensemble of several."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch

from fednnunet import io, records
from fednnunet.dataset import Case
from fednnunet.errors import FedNNUNetError, InputError, StorageError
from fednnunet.inference.bundle import Bundle
from fednnunet.inference.compute import Compute, no_room
from fednnunet.inference.export import labels_of_logits
from fednnunet.inference.routing import Experts, route
from fednnunet.inference.sliding import predict_logits
from fednnunet.planning.plan import Configuration, Plan
from fednnunet.preprocess.pipeline import Prepared, prepare_volume
from fednnunet.progress import Progress
from fednnunet.volume import Geometry, Volume

RECORD = "predictions.json"
ROUTES = "routing.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result for a folder: cases predicted, cases that had a mask already, and faults."""

    written: tuple[str, ...]
    kept: tuple[str, ...]
    faults: tuple[FedNNUNetError, ...]


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
    return _predict_prepared(networks, plan, configuration, prepared, compute, mirror)


def predict_cases(
    bundles: Bundle | Sequence[Bundle],
    cases: Sequence[Case],
    folder: Path,
    *,
    compute: Compute,
    mirror: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Write a mask per case to `folder`, in the format of its first image.

    While one case is predicted, the next is read and preprocessed in a thread. A mask is kept,
    unless `overwrite`, if images, bundles and options are the same as when it was written. A case
    that cannot be predicted gives a fault; the others are predicted. A bundle of experts is mixed
    for each case, with the shares in `routing.json`.
    """
    members = (bundles,) if isinstance(bundles, Bundle) else tuple(bundles)
    _check_bundles(members, mirror)
    folder.mkdir(parents=True, exist_ok=True)
    job = _Job(bundles=members, folder=folder, compute=compute, mirror=mirror, keep=not overwrite)
    settings = members[0].settings
    models = [_Model(bundle, compute) for bundle in members]
    done, routes = _read_record(folder), _read_routes(folder)
    written, kept = [], []
    faults: list[FedNNUNetError] = []
    for count, (case, pending) in enumerate(_ahead(cases, job, done)):
        if progress:
            progress(count, len(cases), case.name)
        try:
            ready = pending.result()
            if ready.prepared is None:
                kept.append(case.name)
                continue
            plan = members[0].plan
            shares = [model.route(ready.prepared.data) for model in models]
            networks = [model.network for model in models]
            mask = _predict_prepared(networks, plan, settings, ready.prepared, compute, mirror)
            geometry = ready.prepared.placement.geometry
            _write(mask, geometry, case, folder)
        except StorageError:  # no other case would fare better
            raise
        except FedNNUNetError as fault:
            faults.append(_named(fault, case))
            continue
        if any(shares):
            routes[case.name] = {name: s for part in shares for name, s in part.items()}
            records.write(_Routes(cases=dict(sorted(routes.items()))), folder / ROUTES)
        done[case.name] = ready.digest
        records.write(_Record(cases=dict(sorted(done.items()))), folder / RECORD)
        written.append(case.name)
    if progress:
        progress(len(cases), len(cases), "done")
    return Outcome(written=tuple(written), kept=tuple(kept), faults=tuple(faults))


class VolumePredictor:
    """Predicts volumes in memory with bundles of one plan, whose networks are loaded once.

    With `mirror` the logits of all flips are averaged. Raises InputError for bundles that do not
    belong together.
    """

    def __init__(self, bundles: Sequence[Bundle], *, compute: Compute, mirror: bool) -> None:
        _check_bundles(bundles, mirror)
        self._compute, self._mirror = compute, mirror
        self._models = [_Model(bundle, compute) for bundle in bundles]
        self._settings = bundles[0].settings
        self.plan = bundles[0].plan

    def __call__(self, volume: Volume) -> np.ndarray:
        """Label map (z, y, x) on the volume's own grid."""
        prepared = prepare_volume(volume, self.plan, self._settings)
        for model in self._models:
            model.route(prepared.data)
        networks = [model.network for model in self._models]
        return _predict_prepared(
            networks, self.plan, self._settings, prepared, self._compute, self._mirror
        )


def mask_path(folder: Path, case: Case) -> Path:
    """The path of a case's mask: its name with the ending of its first image."""
    return folder / f"{case.name}{io.ending(case.images[0])}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    """For each mask in the folder, a digest of its inputs."""

    cases: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Routes:
    """For each case predicted with mixed experts, the share of each expert."""

    cases: dict[str, dict[str, float]] = field(default_factory=dict)


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
    mirror: bool
    keep: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Ready:
    """A case's digest, and its preprocessed volume unless it has a mask already."""

    digest: str
    prepared: Prepared | None


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
    if job.keep and digest == earlier and mask_path(job.folder, case).is_file():
        return _Ready(digest=digest, prepared=None)
    bundle = job.bundles[0]
    volume = io.read_volume(case.images)
    if not np.isfinite(volume.array).all():
        raise InputError(
            f"{int((~np.isfinite(volume.array)).sum())} voxels are NaN or infinite",
            where=str(case.images[0]),
            mend="export the image again, or replace these voxels",
        )
    return _Ready(digest=digest, prepared=prepare_volume(volume, bundle.plan, bundle.settings))


def _predict_prepared(
    networks: Sequence[torch.nn.Module],
    plan: Plan,
    configuration: Configuration,
    prepared: Prepared,
    compute: Compute,
    mirror: bool,
) -> np.ndarray:
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
    return labels_of_logits(total, prepared.placement, plan.task, configuration.resampling)


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
    sums = sha256(f"mirror {job.mirror}".encode())
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


def _read_record(folder: Path) -> dict[str, str]:
    """The digests of an earlier prediction; empty without one, or if the record is damaged."""
    try:
        return dict(records.read(_Record, folder / RECORD).cases)
    except InputError:
        return {}


def _read_routes(folder: Path) -> dict[str, dict[str, float]]:
    try:
        return dict(records.read(_Routes, folder / ROUTES).cases)
    except InputError:
        return {}


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
