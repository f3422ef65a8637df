"""The networks of one bundle or several, which predict a volume together."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import torch

from fednnunet.errors import InputError
from fednnunet.inference.bundle import Bundle
from fednnunet.inference.compute import Compute, no_room
from fednnunet.inference.export import labels_of_logits
from fednnunet.inference.routing import Experts, route
from fednnunet.inference.sliding import predict_logits
from fednnunet.planning.plan import Configuration, Plan
from fednnunet.preprocess.pipeline import Prepared, prepare_volume
from fednnunet.volume import Volume


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
    return _mask(networks, plan, configuration, prepared, compute, mirror)


class VolumePredictor:
    """Predicts volumes in memory with bundles of one plan, whose networks are loaded once.

    With `mirror` the logits of all flips are averaged. Raises InputError for bundles that do not
    belong together.
    """

    def __init__(self, bundles: Sequence[Bundle], *, compute: Compute, mirror: bool) -> None:
        check_bundles(bundles, mirror)
        self._compute, self._mirror = compute, mirror
        self._models = [BundleModel(bundle, compute) for bundle in bundles]
        self._settings = bundles[0].settings
        self.plan = bundles[0].plan

    def __call__(self, volume: Volume) -> np.ndarray:
        """Label map (z, y, x) on the volume's own grid."""
        prepared = prepare_volume(volume, self.plan, self._settings)
        for model in self._models:
            model.route(prepared.data)
        networks = [model.network for model in self._models]
        return _mask(networks, self.plan, self._settings, prepared, self._compute, self._mirror)


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


def _mask(
    networks: Sequence[torch.nn.Module],
    plan: Plan,
    configuration: Configuration,
    prepared: Prepared,
    compute: Compute,
    mirror: bool,
) -> np.ndarray:
    """Label map (z, y, x) of a prepared volume on its native grid."""
    logits = mean_logits(networks, configuration, prepared, compute, mirror)
    return labels_of_logits(logits, prepared.placement, plan.task, configuration.resampling)


def mean_logits(
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
