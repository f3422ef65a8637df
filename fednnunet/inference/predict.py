"""Predict volumes and whole folders with one bundle, or the mean of several."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
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
from fednnunet.volume import Geometry, Volume

Progress = Callable[[int, int, str], None]

RECORD = "predictions.json"
ROUTES = "routing.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a folder's cases: names written, names already there, and what failed."""

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
    """Label map (z, y, x) on the volume's own grid; of several networks, from their mean logits.

    The networks are in eval mode on `compute.device`: see `Compute.place`. With `mirror` the
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

    While one case is in the network the next is read and prepared in a thread. A case whose
    images, bundles and options are as when its mask was written is kept, unless `overwrite`. A
    case that cannot be predicted is among the faults, and the others go on. A bundle of experts is
    mixed for each case; `routing.json` says in which shares.
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
            shares = [model.suit(ready.prepared.data) for model in models]
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


def mask_path(folder: Path, case: Case) -> Path:
    """Where the mask of a case goes: its name with the ending of its first image."""
    return folder / f"{case.name}{io.ending(case.images[0])}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    """For each mask in the folder, a digest of all that it came from."""

    cases: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Routes:
    """For each case that experts were mixed for, the share of each."""

    cases: dict[str, dict[str, float]] = field(default_factory=dict)


class _Model:
    """A bundle's network where it computes, which experts' weights are put into for each case."""

    def __init__(self, bundle: Bundle, compute: Compute) -> None:
        self.network = compute.place(bundle.network(), len(bundle.settings.patch_vox))
        self._bundle, self._compute = bundle, compute
        experts, device = bundle.experts, compute.device.torch_device
        self._experts = Experts.of(experts, device) if experts else None

    def suit(self, data: np.ndarray) -> dict[str, float]:
        """Make the network the one for a prepared volume; returns the experts' shares in it.

        Raises DataError if the device's memory does not hold what that takes.
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
    """A case's digest, and its prepared volume unless its mask is already there."""

    digest: str
    prepared: Prepared | None


def _ahead(
    cases: Sequence[Case], job: _Job, done: dict[str, str]
) -> Iterator[tuple[Case, Future[_Ready]]]:
    """Each case with its preparation under way, one case ahead of the one that is used."""
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
            mend="export the image again, or replace them",
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
        raise InputError("no network was given", mend="name at least one bundle")
    total /= len(networks)
    return labels_of_logits(total, prepared.placement, plan.task, configuration.resampling)


def _write(mask: np.ndarray, geometry: Geometry, case: Case, folder: Path) -> None:
    path = mask_path(folder, case)
    if path.resolve() in {image.resolve() for image in case.images}:
        raise InputError(
            "the mask would take the place of its image",
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
                mend="correct the file or its permissions",
            ) from None
    return sums.hexdigest()


def _read_record(folder: Path) -> dict[str, str]:
    """The digests of an earlier run; none if there was none, or its record is damaged."""
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
    """Several bundles vote only if they see the same prepared volume and name the same labels."""
    if not bundles:
        raise InputError("no bundle was given", mend="name at least one")
    first = bundles[0]
    for bundle in bundles[1:]:
        same = dataclasses.replace(bundle.plan, reasons=first.plan.reasons) == first.plan
        if not same or bundle.configuration != first.configuration:
            raise InputError(
                "the bundles were trained by different plans or configurations",
                mend="predict with bundles of one run",
            )
    if mirror and not all(bundle.mirrored for bundle in bundles):
        raise InputError(
            "the network was not trained on mirrored patches and would be misled by them",
            mend="predict without mirroring, or train by a recipe that mirrors, such as nnunet",
        )


def _named(fault: FedNNUNetError, case: Case) -> FedNNUNetError:
    """The fault with the case's name, if it does not say where it arose."""
    if fault.where or hasattr(fault, "faults"):
        return fault
    fault.where = f"case {case.name}"
    return fault
