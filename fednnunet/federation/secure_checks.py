"""Which settings go together with secure aggregation, checked before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from fednnunet.errors import InputError
from fednnunet.federation.filters.catalogue import CODING, FILTERS
from fednnunet.federation.membership import Member, present
from fednnunet.federation.methods.catalogue import label
from fednnunet.federation.methods.local import Local
from fednnunet.federation.methods.merging import Merging
from fednnunet.federation.methods.pooled import run_kind
from fednnunet.federation.methods.public_weights import public_weight
from fednnunet.federation.methods.weighting.plain import Cases

if TYPE_CHECKING:
    from fednnunet.federation.training_spec import Training


def check_secure_training(training: Training) -> None:
    """Raise InputError where a setting needs single replies, which nobody sees under masks."""
    if training.secure is None:
        return
    if training.robust is not None:
        raise _excluded(
            "a robust mean compares single replies", "training.robust", "remove that table"
        )
    if training.max_update_ratio:
        raise _excluded(
            f"max_update_ratio = {training.max_update_ratio:g} screens single replies",
            "training.max_update_ratio",
            "set it to 0, and training.secure.clip to the largest norm of a change, to which each "
            "site then cuts its own",
        )
    used = {type(one) for one in training.filter_chain} & set(CODING)
    if coding := [name for name, kind in FILTERS.items() if kind in used]:
        raise _excluded(
            f"the filter {coding[0]} sends codes, which cannot be summed",
            "training.filters",
            "take it out (bits = 32 in [training.secure] halves the bytes)",
        )
    _check_methods(training)
    named = {
        "contribution": (training.contribution, "compares single replies"),
        "routed": (training.routed, "asks for whole models of single sites"),
        "pseudo_labels": (
            training.pseudo_labels is not None,
            "counts sites by how many of their cases have labels",
        ),
        "selection": (training.selection == "loss", "needs the loss of single sites"),
        "filters_down": (bool(training.filters_down), "codes what each site receives"),
        "weights": (training.weights != Cases(), "weights sites otherwise than by cases"),
        "merging": (training.merging != Merging(), "changes single replies"),
        "step.server": (training.step.server == "fedexp", "needs the norms of single updates"),
        "step.alone_rounds": (training.step.alone_rounds > 0, "keeps the reply of each site"),
    }
    for name, (is_on, why) in named.items():
        if is_on:
            raise _excluded(f"training.{name} {why}", f"training.{name}", f"take {name} out")


def _check_methods(training: Training) -> None:
    for settings in training.runs.values():
        method, name = settings.build(), label(settings)
        if isinstance(settings, Local) or run_kind(settings) == "pooled":
            continue  # nothing is sent to be summed
        if public_weight(method.merge) is None:
            raise _excluded(
                f"method {name} needs more of the replies than their mean",
                "training.method",
                "choose one such as fedavg, fedbn_head, fedprox, fedavgm or scaffold",
            )
        if method.extras and training.secure and training.secure.bits == 32:
            raise _excluded(
                f"method {name} sends tensors of its own, for which 32 bits are too few",
                "training.secure.bits",
                "set bits = 64",
            )


def check_secure_sites(
    training: Training, members: Mapping[str, Member], *, invited: int, planning: int | None
) -> None:
    """Raise InputError where too few sites take part for their sum to hide each of them.

    `invited` is the number of sites in a round, `planning` that of the sites whose statistics are
    summed under masks, None without masks.
    """
    if planning is not None and planning < 2:
        raise _too_few("planning.secure", planning, 2)
    settings = training.secure
    if settings is None:
        return
    threshold = settings.threshold_of(invited)
    if invited < 2:
        raise _too_few("training.secure", invited, 2)
    if not invited / 2 < threshold <= invited:
        raise InputError(
            f"threshold is {threshold} with {invited} sites in a round",
            where="training.secure.threshold",
            mend=f"give {invited // 2 + 1} to {invited}, or 0 for more than two thirds",
        )
    if training.quorum and training.quorum < threshold:
        raise InputError(
            f"quorum is {training.quorum}, and the masks of a sum need {threshold} sites",
            where="training.quorum",
            mend=f"set quorum to {threshold} or more, or lower training.secure.threshold",
        )
    joint = training.pretraining_rounds + training.rounds
    own = joint + training.personal_rounds
    for number in (*range(joint), *range(own, own + training.public_rounds)):
        found = len(present(members, number))
        if found < threshold:
            raise _too_few(f"round {number + 1}", found, threshold)


def with_threshold(training: Training, invited: int) -> Training:
    """The training with the threshold of secure aggregation as a number, for so many sites."""
    settings = training.secure
    if settings is None:
        return training
    return replace(training, secure=replace(settings, threshold=settings.threshold_of(invited)))


def _too_few(where: str, sites: int, threshold: int) -> InputError:
    return InputError(
        f"{sites} sites would be summed under masks, and {threshold} are needed",
        where=where,
        mend="let more sites take part, lower training.secure.threshold, or do without masks",
    )


def _excluded(what: str, where: str, mend: str) -> InputError:
    return InputError(
        f"{what}; it does not go together with secure aggregation, where the coordinator sees "
        "the sum of the replies only",
        where=where,
        mend=f"{mend}, or remove the table [training.secure]",
    )
