"""What a person at a site is asked to approve, in words, and what needs no person.

What is asked follows from the site's own federation file and the plan; nothing of it is the
coordinator's text. The request waits in the site's folder until it is approved or taken back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch

from fednnunet import records
from fednnunet.federation.filters.catalogue import FILTERS
from fednnunet.federation.methods.catalogue import label
from fednnunet.federation.methods.local import Local
from fednnunet.federation.site.policy import Allowed, SitePolicy
from fednnunet.federation.spec import Federation
from fednnunet.federation.training_spec import Training
from fednnunet.network.tensors import Tensors
from fednnunet.planning.plan import Plan
from fednnunet.training.initial import plan_network

FILE = "to_approve.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A plan that waits for approval, why the site's policy does not settle it, and that policy."""

    plan: Plan
    reasons: tuple[str, ...]
    policy: SitePolicy = field(default_factory=SitePolicy)


def keep_request(base: Path, request: Request) -> None:
    """Write a request down for `fednnunet_site --approve`."""
    records.write(request, base / FILE)


def read_request(base: Path) -> Request | None:
    """The request that waits, if any."""
    path = base / FILE
    return records.read(Request, path) if path.is_file() else None


def drop_request(base: Path) -> None:
    """Forget a request that was settled or taken back."""
    (base / FILE).unlink(missing_ok=True)


def reasons_to_ask(federation: Federation, allow: Allowed | None) -> tuple[str, ...]:
    """Why a person must decide; none where the policy allows all of what the file asks for."""
    if allow is None:
        return ("the policy has no table [allow], so a person approves every plan",)
    training = federation.training
    reasons = [
        f"the method {label(settings)} is not among the allowed ones"
        for settings in training.runs.values()
        if not {label(settings), settings.tag} & set(allow.methods)
    ]
    rounds = training.all_rounds
    if rounds > allow.max_rounds:
        reasons.append(f"{rounds} rounds are asked for, {allow.max_rounds} allowed")
    used = {name for name, kind in FILTERS.items() if kind in map(type, training.filter_chain)}
    reasons += [f"the filter {name} is not used" for name in allow.filters if name not in used]
    return tuple(reasons)


def in_words(federation: Federation, plan: Plan, policy: SitePolicy) -> tuple[str, ...]:
    """What approval means: the task, the plan's figures, the method, what leaves and how large."""
    training = federation.training
    configuration = plan.configuration(training.configuration)
    with torch.device("meta"):
        network = plan_network(plan, configuration).state_dict()
    lines = [
        f"task: {plan.task.name}: {', '.join(plan.task.labels[1:])} in "
        f"{', '.join(plan.task.channels)}",
        f"plan: {plan.planner}, {plan.cases} cases of all sites, configuration "
        f"{configuration.name}",
        f"  patch {' x '.join(map(str, configuration.patch_vox))} voxels (z, y, x), batch "
        f"{configuration.batch}, spacing "
        f"{' x '.join(f'{mm:.3g}' for mm in configuration.spacing_mm)} mm",
    ]
    for name, settings in training.runs.items():
        method = settings.build()
        shared = method.shared(network)
        rounds = training.phases(method, network).total
        lines += [
            f"{name or 'training'}: {label(settings)}, {rounds} rounds of "
            f"{training.iterations_per_round} iterations",
            f"  leaves after each round: {len(shared)} of {len(network)} tensors of the model, "
            f"{_mib(shared):,.1f} MiB, and figures of the site as a whole (number of cases, loss, "
            "overlap)",
        ]
        if method.extras_words:
            lines.append(f"  and: {method.extras_words}")
        lines += [f"  and: {words}" for words in training.figure_words("joint")]
    if training.filter_chain:
        lines.append(f"filters: {'; '.join(one.words for one in training.filter_chain)}")
    if federation.planning.secure:
        lines.append("the sums for the plan left under masks: nobody saw them but over all sites")
    if training.secure is not None:
        threshold = training.secure.threshold_of(federation.invited)
        lines.append(
            f"the changes of weights leave under masks: nobody sees them but in the sum over at "
            f"least {threshold} sites; no loss and no overlap leaves with them"
        )
    return (*lines, *_after_training(training, policy))


def _after_training(training: Training, policy: SitePolicy) -> Iterator[str]:
    """What leaves beside the replies of rounds."""
    when = "after the training"
    if training.validate_every:
        when = f"after every {training.validate_every} rounds and after the training"
    yield f"leaves {when}: sums of scores over the held-out cases"
    if any(isinstance(settings, Local) for settings in training.runs.values()):
        yield "  and: the mean difference in Dice to training alone, in how many cases it is better"
    if training.postprocessing:
        yield "  and: sums of Dice with and without post-processing of masks"
    if training.contribution:
        yield "  and: sums of overlap of models without one site each, on training patches"
    if policy.share_pictures:
        yield "  and: pictures of the worst and the median held-out case (share_pictures)"
    if training.routed:
        yield "is asked for after the training: the site's own model"


def _mib(tensors: Tensors) -> float:
    return sum(t.numel() * t.element_size() for t in tensors.values()) / 2**20
