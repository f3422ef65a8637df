"""The two exchanges that lead to a plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from fednnunet.errors import PlanError, ReplyError, raise_all
from fednnunet.federation.coordinator.engine import Engine
from fednnunet.federation.coordinator.exchange import ask_all
from fednnunet.federation.coordinator.stated import StatedCases
from fednnunet.federation.spec import Federation
from fednnunet.federation.wire.messages import (
    FingerprintReply,
    MeasureInvite,
    ShapesInvite,
    ShapesReply,
)
from fednnunet.federation.workflows.masked_plan import masked_fingerprint, masked_shapes
from fednnunet.planning.fingerprint import Fingerprint
from fednnunet.planning.plan import Plan
from fednnunet.planning.planner import make_plan
from fednnunet.planning.shapes import ShapeSketch, Spacing
from fednnunet.planning.spacing import target_spacing
from fednnunet.planning.validate import validate, validate_shapes
from fednnunet.progress import Progress
from fednnunet.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """The merged statistics, the plan made of them, and each site's part in them."""

    fingerprint: Fingerprint
    shapes: ShapeSketch
    plan: Plan
    stated: StatedCases


def plan_together(
    engine: Engine, federation: Federation, *, progress: Progress | None = None
) -> Planned:
    """Merge the sites' fingerprints, then their resampled shapes, and make the plan.

    Faults of all sites are raised together. Each entry of what a site releases stands for at least
    its own `min_bin_count` cases; with 1 (exact mode) it can be the value of a single case. With
    `planning.secure` no site's part is seen, and nothing is `stated` of any.
    """
    task = federation.task
    secure = federation.planning.secure
    fingerprints = {} if secure else _fingerprints(engine, task, progress)
    fingerprint = sum(fingerprints.values(), start=Fingerprint.empty(task))
    if secure:
        fingerprint = masked_fingerprint(engine, task, progress)
    _check_annotated(fingerprint, federation)
    spacing_mm = target_spacing(fingerprint)
    if secure:
        shapes = masked_shapes(engine, spacing_mm, fingerprint.cases, progress)
    else:
        shapes = _merge_shapes(engine, fingerprints, spacing_mm, progress)
    plan = make_plan(
        fingerprint,
        shapes,
        planner=federation.budget.planner,
        memory_gib=_memory(federation),
        site_labels=_labels(federation),
    )
    stated = StatedCases(cases={site: found.cases for site, found in fingerprints.items()})
    return Planned(fingerprint=fingerprint, shapes=shapes, plan=plan, stated=stated)


def _check_annotated(fingerprint: Fingerprint, federation: Federation) -> None:
    """Raise PlanError for every class that no site annotates: no model could learn it.

    By the merged numbers of cases, or where a site counts too few cases to state them, by its
    `annotated` in the federation file.
    """
    agreed = {label for site in federation.sites.values() for label in site.annotated}
    counts = fingerprint.annotated_cases()
    missing = [name for name, count in counts.items() if not count and name not in agreed]
    mend = (
        "annotate it at one site at least (supervision in dataset.json), or take it out of the "
        "task; a site with few such cases states them with min_bin_count = 1 in its policy"
    )
    few = "or in too few cases for a site to say so"
    faults = [
        PlanError(f"no site annotates {name}, {few}", where=f"task.labels, {name}", mend=mend)
        for name in missing
    ]
    if len(missing) == len(counts):
        faults = [PlanError(f"no site has any labels, {few}", where="sites", mend=mend)]
    raise_all("the federation cannot be planned", faults)


def _fingerprints(engine: Engine, task: Task, progress: Progress | None) -> dict[str, Fingerprint]:
    found: dict[str, Fingerprint] = {}

    def accept(site: str, reply: FingerprintReply) -> None:
        found[site] = Fingerprint.from_vector(task, _vector(reply, site), site=site)
        validate(found[site], site=site)

    what = "the federation cannot be planned"
    invite = MeasureInvite(task=task)
    ask_all(engine, invite, FingerprintReply, what=what, check=accept, progress=progress)
    return dict(sorted(found.items()))


def _merge_shapes(
    engine: Engine,
    fingerprints: Mapping[str, Fingerprint],
    spacing_mm: Spacing,
    progress: Progress | None,
) -> ShapeSketch:
    found: dict[str, ShapeSketch] = {}

    def accept(site: str, reply: ShapesReply) -> None:
        found[site] = ShapeSketch.from_vector(spacing_mm, _vector(reply, site), site=site)
        validate_shapes(found[site], site=site, cases=fingerprints[site].cases)

    invite = ShapesInvite(spacing_mm=spacing_mm)
    what = "the shapes of the federation cannot be merged"
    ask_all(engine, invite, ShapesReply, what=what, check=accept, progress=progress)
    return sum((found[site] for site in sorted(found)), start=ShapeSketch.empty(spacing_mm))


def _vector(reply: FingerprintReply | ShapesReply, site: str) -> np.ndarray:
    if set(reply.tensors) != {"sums"}:
        raise ReplyError(
            f"a reply of sums holds the tensors {sorted(reply.tensors)[:3]}, not only its sums",
            where=f"site {site}",
            mend="give every site the same version of the program",
        )
    vector = reply.tensors["sums"]
    if vector.dtype != torch.float64:
        raise ReplyError(
            f"the sums are {vector.dtype}, not torch.float64",
            where=f"site {site}",
            mend="give every site the same version of the program",
        )
    return vector.numpy()


def _memory(federation: Federation) -> tuple[float, ...] | float | None:
    common = federation.budget.memory_gib
    own = [site.memory_gib for site in federation.sites.values() if site.memory_gib]
    if not own:
        return common
    return tuple(
        site.memory_gib or common or max(own) for site in federation.sites.values() if site.trains
    )


def _labels(federation: Federation) -> dict[str, tuple[str, ...]]:
    labels = federation.task.labels[1:]
    return {name: site.annotated or labels for name, site in sorted(federation.sites.items())}
