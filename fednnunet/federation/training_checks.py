"""The checks of the table `[training]` of the federation file, before anything is trained."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fednnunet.device import check_name
from fednnunet.errors import InputError
from fednnunet.federation.filters.catalogue import CODING, FILTERS
from fednnunet.federation.methods.catalogue import label
from fednnunet.federation.methods.site_mean import SiteMean
from fednnunet.federation.privacy.checks import check_privacy
from fednnunet.federation.secure_checks import check_secure_training
from fednnunet.training.recipe import recipe_named

if TYPE_CHECKING:
    from fednnunet.federation.training_spec import Training

FOLDS = 5
MAX_ROUNDS, MAX_ITERATIONS = 100_000, 10_000_000
MAX_THREADS = 1024
_SHA256 = re.compile(r"[0-9a-f]{64}")


def check_training(training: Training) -> None:
    """Raise InputError for a value out of its range, or for two that do not go together."""
    recipe_named(training.recipe)
    check_name(training.device)
    _check_filters(training)
    _check_lengths(training)
    _check_start(training)
    _check_waiting(training)
    _check_split(training)
    check_privacy(training)
    _check_alone_rounds(training)
    if training.max_update_ratio and not 1 <= training.max_update_ratio <= 1e6:
        raise InputError(
            f"max_update_ratio is {training.max_update_ratio}",
            mend="give a number from 1 to 1e6, or 0 to accept updates of any size",
        )
    if not 0 <= training.threads <= MAX_THREADS:
        raise InputError(
            f"threads is {training.threads}",
            mend=f"give 1 to {MAX_THREADS} threads, or 0 to choose by the free cores",
        )
    if training.validate_every < 0 or (training.keep == "best" and not training.validate_every):
        raise InputError(
            f'validate_every is {training.validate_every} with keep = "{training.keep}"',
            mend='for keep = "best", set validate_every to 1 or more',
        )
    _check_weights(training)
    labels = [label(each) for each in (training.method, *training.baselines)]
    if twice := sorted({each for each in labels if labels.count(each) > 1}):
        raise InputError(
            f"{twice[0]!r} is named twice in method and baselines",
            mend="take it out of training.baselines",
        )
    check_secure_training(training)


def _check_alone_rounds(training: Training) -> None:
    """First rounds alone leave the sites with weights of their own, which two settings exclude."""
    for name, on in (
        ("filters_down", bool(training.filters_down)),
        ("pretraining_rounds", training.pretraining_rounds > 0),
    ):
        if training.step.alone_rounds and on:
            raise InputError(
                f"alone_rounds is {training.step.alone_rounds} together with {name}",
                where="training.step.alone_rounds",
                mend=f"take one of the two out: training.step.alone_rounds or training.{name}",
            )


def _check_split(training: Training) -> None:
    """Which cases are trained on, and which are held out."""
    if min(training.seed, training.split_seed or 0) < 0:
        raise InputError("seed or split_seed is negative", mend="give a seed of 0 or more")
    if training.max_cases < 0:
        raise InputError(
            f"max_cases is {training.max_cases}", mend="set it to 0 (all cases) or more"
        )
    if not 0 <= training.held_out < 1:
        raise InputError(f"held_out is {training.held_out}", mend="give a share from 0 to below 1")
    if training.fold not in (None, *range(FOLDS)):
        raise InputError(
            f"there is no fold {training.fold}", mend=f"choose a fold from 0 to {FOLDS - 1}"
        )


def _check_start(training: Training) -> None:
    if training.start and not _SHA256.fullmatch(training.start):
        raise InputError(
            f"start is {training.start[:80]!r}",
            mend="give the 64 digits of a SHA-256, or leave it out and train with --from",
        )


def _check_lengths(training: Training) -> None:
    if training.rounds < 1 or training.iterations_per_round < 1:
        raise InputError(
            "rounds and iterations_per_round must be at least 1",
            mend="set both to 1 or more",
        )
    if min(training.personal_rounds, training.public_rounds, training.pretraining_rounds) < 0:
        raise InputError(
            "pretraining_rounds, personal_rounds or public_rounds is negative",
            mend="set each of them to 0 (no such rounds) or more",
        )
    if training.pretraining is not None and not training.pretraining_rounds:
        raise InputError(
            "there is a table [training.pretraining], but pretraining_rounds is 0",
            mend="set pretraining_rounds to 1 or more, or take the table out",
        )
    each = (training.rounds, training.personal_rounds, training.public_rounds)
    if max(*each, training.pretraining_rounds) > MAX_ROUNDS:
        raise InputError(
            "a phase has too many rounds", mend=f"give at most {MAX_ROUNDS} rounds a phase"
        )
    if training.iterations_per_round > MAX_ITERATIONS:
        raise InputError("iterations_per_round is too large", mend=f"give at most {MAX_ITERATIONS}")


def _check_filters(training: Training) -> None:
    coding = [one for one in training.filter_chain if isinstance(one, CODING)]
    if len(coding) > 1:
        raise InputError(
            f"{len(coding)} filters send changes in place of weights, so that the second finds "
            "no weights",
            where="training.filters",
            mend="keep one of them",
        )
    down = training.down_chain
    if len(down) > 1 or not all(isinstance(one, CODING) for one in down):
        raise InputError(
            "what sites receive cannot be filtered so",
            where="training.filters_down",
            mend="give one filter that sends changes: "
            + ", ".join(name for name, kind in FILTERS.items() if kind in CODING),
        )


def _check_weights(training: Training) -> None:
    if training.robust is not None and training.site_mean != SiteMean():
        raise InputError(
            "a robust mean counts all sites alike, and training.weights or training.merging do not",
            where="training.robust, training.weights, training.merging",
            mend="remove the table [training.robust], or the other two",
        )


def _check_waiting(training: Training) -> None:
    """Raise InputError for numbers of sites, and times, that no round can wait for."""
    if training.sites_per_round < 0 or training.quorum < 0:
        raise InputError(
            "sites_per_round or quorum is negative",
            mend="set both to 0 (all sites) or to a number of sites",
        )
    if min(training.deadline_s, training.grace_s, training.exchange_grace_s) < 0:
        raise InputError(
            f"deadline_s is {training.deadline_s}, grace_s {training.grace_s} and exchange_grace_s "
            f"{training.exchange_grace_s}",
            mend="give seconds, or 0 to wait for all sites",
        )
    if (training.grace_s or training.exchange_grace_s) and not training.quorum:
        raise InputError(
            f"grace_s is {training.grace_s} and exchange_grace_s {training.exchange_grace_s} "
            "without a quorum",
            mend="set quorum to the number of replies after which the others have that long",
        )
