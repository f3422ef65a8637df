"""The audit of a prepared site: inversion, membership inference, differencing of sums."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
from torch import nn

from fednnunet.audit.differencing import Differencing, difference
from fednnunet.audit.inversion import Loss, invert, similarity
from fednnunet.audit.membership import Membership, case_scores, membership
from fednnunet.audit.record import Audit, Inversion
from fednnunet.audit.rounds import Defence, Patches, cut, names_that_leave, play_round
from fednnunet.federation.site.policy import SitePolicy
from fednnunet.federation.site.prepared import PreparedSite
from fednnunet.inference.bundle import read_bundle
from fednnunet.labels.loss import make_loss
from fednnunet.planning.fingerprint import CaseFingerprint, Fingerprint
from fednnunet.planning.minimum_counts import release_fingerprint
from fednnunet.planning.noisy_counts import noisy_fingerprint
from fednnunet.secret_noise import new_key
from fednnunet.task import Task
from fednnunet.training.augment import plain_augmenter
from fednnunet.training.batches import Batch, BatchSource
from fednnunet.training.patches import PatchStore

LEARNING_RATE = 0.01
_BASELINES = 8  # other cases, and as many noise images


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSize:
    """How much is computed: targets and steps of inversion, the edge of their patches in voxels,
    steps of a round, and the most cases of each group for the other attacks."""

    targets: int = 4
    steps: int = 300
    edge_vox: int = 24
    round_steps: int = 4
    cases: int = 64
    patches: int = 4


def audit_site(
    site: PreparedSite, size: AuditSize, *, bundles: dict[str, Path], log: Callable[[str], None]
) -> Audit:
    """Run all attacks but differencing; `bundles` are the models whose members are inferred."""
    found = []
    training = site.training
    defended = training if training.filter_chain or training.privacy else None
    for kind, steps in (("one iteration", 1), ("whole round", size.round_steps)):
        for active in (None, *((defended,) if defended else ())):
            log(f"inversion of {kind}, {'with' if active else 'without'} the defences")
            shared = names_that_leave(training, list(site.network))
            defence = Defence(training=active, shared=shared)
            found.append(_invert(site, size, defence, kind, steps))
    members = {}
    for name, folder in bundles.items():
        log(f"membership inference from the model {name}")
        one = _membership(site, size, folder)
        if one is not None:
            members[name] = one
    words = "; ".join(one.words for one in training.filter_chain)
    if training.privacy and training.privacy.unit == "patient":
        words = "; ".join(filter(None, (training.privacy.words, words)))
    return Audit(
        site=site.name,
        defences=words or "none",
        inversions=tuple(found),
        membership=members,
    )


def differencing(
    task: Task, cases: Sequence[CaseFingerprint], policy: SitePolicy
) -> dict[str, Differencing]:
    """With exact sums, and with what the site's policy releases; {} with too few cases."""
    if len(cases) <= max(policy.required_cases, 3):
        return {}

    def released(some: Sequence[CaseFingerprint], number: int) -> Fingerprint:
        if policy.fingerprint_noise:
            even = (1.0,) * len(some)
            noise = policy.fingerprint_noise
            return noisy_fingerprint(task, some, even, noise=noise, key=new_key())
        return release_fingerprint(task, some, min_bin_count=policy.min_bin_count)

    exact = difference(task, cases, lambda some, number: Fingerprint.of(task, some))
    return {"exact sums": exact, "as the site's policy": difference(task, cases, released)}


def _invert(
    site: PreparedSite, size: AuditSize, defence: Defence, kind: str, steps: int
) -> Inversion:
    """The attack on the first cases; guesses are patches of the others, their mean, and noise."""
    edges = _edges(site, size.edge_vox)
    network = site.new_state().network.cpu()
    chosen = list(islice(_patches(site, steps, edges), size.targets + _BASELINES))
    targets = chosen[: min(size.targets, max(len(chosen) - 1, 0))]
    rows = []
    for place, (patches, loss) in enumerate(targets):
        seen = play_round(network, patches, loss, defence, learning_rate=LEARNING_RATE, seed=place)
        channels = patches.images[0].shape[1]
        image = invert(
            network, seen, patches.labels[0], loss, channels=channels, steps=size.steps, seed=place
        )
        truths = [one[0, 0].numpy() for one in patches.images]
        others = [p.images[0][0, 0].numpy() for n, (p, _) in enumerate(chosen) if n != place]
        best = max(similarity(image[0, 0].numpy(), truth) for truth in truths)
        rows.append((best, max(similarity(g, t) for g in _guesses(others, place) for t in truths)))
    values = np.array(rows).reshape(-1, 2, 2)
    means = values.mean(axis=0) if len(values) else np.full((2, 2), math.nan)
    return Inversion(
        round="one iteration" if kind == "one iteration" else "whole round",
        defended=defence.training is not None,
        targets=len(values),
        beaten=int((values[:, 0, 0] > values[:, 1, 0]).sum()),
        ssim=float(means[0, 0]),
        psnr=float(means[0, 1]),
        baseline_ssim=float(means[1, 0]),
        baseline_psnr=float(means[1, 1]),
    )


def _guesses(others: Sequence[np.ndarray], seed: int) -> Iterator[np.ndarray]:
    """What an attacker without the update could name: other patches, their mean, and noise."""
    yield from others
    yield np.mean(others, axis=0)
    rng = np.random.default_rng(seed)
    for _ in range(_BASELINES):
        yield rng.normal(size=others[0].shape)


def _patches(
    site: PreparedSite, count: int, edges: Sequence[int]
) -> Iterator[tuple[Patches, Loss]]:
    """Patches of each training case, cut to `edges`, and the loss of its labels."""
    for batch in site.patches_of_each_case(count):
        loss = make_loss(site.plan.task, batch.supervision[0], site.configuration, site.recipe)
        images, labels = cut(batch.image, edges), cut(batch.labels, edges)
        rows = range(len(images))
        patches = Patches(
            images=tuple(images[row : row + 1] for row in rows),
            labels=tuple(labels[row : row + 1] for row in rows),
        )
        yield patches, loss


def _edges(site: PreparedSite, edge_vox: int) -> tuple[int, ...]:
    """Lengths that the network takes: near `edge_vox`, whole multiples of its strides."""
    strides = [stage.stride for stage in site.configuration.architecture.stages]
    found = []
    for axis, patch in enumerate(site.configuration.patch_vox):
        whole = math.prod(stride[axis] for stride in strides)
        found.append(min(patch, max(-(-edge_vox // whole), 2) * whole))
    return tuple(found)


def _membership(site: PreparedSite, size: AuditSize, folder: Path) -> Membership | None:
    bundle = read_bundle(folder)
    network = site.new_state().network
    network.load_state_dict(dict(bundle.weights))
    members = _scores(site, size, site.store, site.cases, network)
    others: list[float] = []
    if site.held_out is not None:
        others = _scores(site, size, site.held_out, site.held_out_cases, network)
    return membership(members, others)


def _scores(
    site: PreparedSite, size: AuditSize, store: PatchStore, names: Sequence[str], network: nn.Module
) -> list[float]:
    """Minus the loss of each of the cases, over the same number of patches."""
    task, configuration = site.plan.task, site.configuration
    recipe = replace(site.recipe, deep_supervision=False)
    some = sorted(names)[: size.cases]
    kinds = {site.supervision.of(name) for name in some}
    losses = {kind: make_loss(task, kind, configuration, recipe) for kind in kinds}

    def batches() -> Iterator[Batch]:
        for name in some:
            source = BatchSource(
                store=store,
                names=(name,),
                task=task,
                augmenter=plain_augmenter(configuration.patch_vox),
                size=size.patches,
                foreground=recipe.foreground,
                seed=0,
                supervision=site.supervision,
            )
            yield source[0]

    return case_scores(network, batches(), losses, site.execution())
