"""The networks of one bundle or several, which predict a volume together."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import torch

from fednnunet.errors import InputError
from fednnunet.evaluation.postprocess import Postprocessing
from fednnunet.inference.bundle import Bundle
from fednnunet.inference.compute import Compute, no_room
from fednnunet.inference.export import Export, Predicted, Wanted
from fednnunet.inference.memory import Memory, native_bytes, network_bytes, row_parts
from fednnunet.inference.routing import Experts, route
from fednnunet.inference.sliding import Window
from fednnunet.inference.views import Views
from fednnunet.preprocess.pipeline import Prepared, prepare_volume
from fednnunet.progress import Progress
from fednnunet.volume import Volume


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """How networks predict a volume together."""

    mirror: bool = False
    """Average the logits of all flips, at eight (in 2D four) times the work."""
    step: float = 0.5
    """The distance of two tiles in patches, above 0 and at most 1; nnU-Net's is 0.5."""
    weights: tuple[float, ...] = ()
    """The weight of each bundle; without any, all count alike."""
    memory: Memory = field(default_factory=lambda: Memory.of(0))


class Ensemble:
    """Bundles of one plan, whose networks are loaded once and predict prepared volumes.

    Post-processing that all of them share is applied to masks. Raises InputError for bundles that
    do not belong together.
    """

    def __init__(self, bundles: Sequence[Bundle], *, compute: Compute, vote: Vote) -> None:
        check_bundles(bundles, vote.mirror)
        self._compute, self._vote = compute, vote
        self._models = [BundleModel(bundle, compute) for bundle in bundles]
        self.plan, self.settings = bundles[0].plan, bundles[0].settings
        rules = [bundle.postprocessing for bundle in bundles]
        self._rule = rules[0] if all(rule == rules[0] for rule in rules) else Postprocessing()
        axes = range(len(self.settings.patch_vox)) if vote.mirror else ()
        self._views = Views(
            networks=tuple(model.network for model in self._models),
            shares=vote.weights,
            mirror_axes=tuple(axes),
            regions=bool(self.plan.task.regions),
        )

    @property
    def views(self) -> int:
        """The number of networks and flips that vote."""
        return self._views.count

    def route(self, prepared: Prepared) -> list[dict[str, float]]:
        """Mix the experts of each bundle for a prepared volume; returns their shares."""
        return [model.route(prepared.data) for model in self._models]

    def predict(
        self,
        prepared: Prepared,
        wanted: Wanted | None = None,
        *,
        reserved: int = 0,
        progress: Progress | None = None,
    ) -> Predicted:
        """The mask of a prepared volume on its native grid, and what else is wanted.

        Logits are held for a part of the volume at a time, as large as the memory allows when
        `reserved` bytes of it are left to others. The result does not depend on the parts. Raises
        DataError if the memory does not hold the smallest part.
        """
        wanted, settings, task = wanted or Wanted(), self.settings, self.plan.task
        export = Export(prepared.placement, task, settings.resampling, wanted)
        window = Window(prepared.data, settings.patch_vox, step=self._vote.step)
        outputs = task.heads + wanted.spread
        if self._compute.device.kind != "cuda":  # which has memory of its own
            reserved += network_bytes(settings, outputs, self._compute.tiles)
        left = self._vote.memory.left(reserved + native_bytes(prepared.placement, wanted))
        parts, need = row_parts(export.grid, window, outputs, left)
        if need > left:
            raise self._vote.memory.too_small(need, left)
        rows = [export.grid.rows_into(part) for part in parts]
        done, total = 0, sum(len(window.tiles(each)) for each in rows)

        def tell(tiles: int) -> None:
            nonlocal done
            done += tiles
            if progress:
                progress(done, total, "tiles")

        views = dataclasses.replace(self._views, spread=wanted.spread)
        for part, each in zip(parts, rows, strict=True):
            sink = export.part(part)
            self._compute = window.sweep(
                views,
                each,
                sink,
                compute=self._compute,
                spare=export.grid.spare,
                progress=tell,
            )
        return export.predicted

    def finish(self, predicted: Predicted) -> Predicted:
        """What was predicted, its mask after the post-processing that all bundles share."""
        spacing = predicted.placement.geometry.spacing_mm
        mask = self._rule.apply(predicted.mask, spacing, self.plan.task)
        return dataclasses.replace(predicted, mask=mask)


class VolumePredictor:
    """Predicts volumes in memory with bundles of one plan, whose networks are loaded once.

    Raises InputError for bundles that do not belong together.
    """

    def __init__(
        self, bundles: Sequence[Bundle], *, compute: Compute, vote: Vote | None = None
    ) -> None:
        self._ensemble = Ensemble(bundles, compute=compute, vote=vote or Vote())
        self.plan = self._ensemble.plan

    def __call__(self, volume: Volume) -> np.ndarray:
        """Label map (z, y, x) on the volume's own grid."""
        prepared = prepare_volume(volume, self.plan, self._ensemble.settings)
        self._ensemble.route(prepared)
        return self._ensemble.finish(self._ensemble.predict(prepared)).mask


class BundleModel:
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


def check_bundles(bundles: Sequence[Bundle], mirror: bool) -> None:
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
