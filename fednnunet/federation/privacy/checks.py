"""With what differential privacy cannot be used, checked before anything is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fednnunet.errors import InputError
from fednnunet.federation.methods.catalogue import label
from fednnunet.federation.methods.pooled import run_kind

if TYPE_CHECKING:
    from fednnunet.federation.methods.settings import Settings
    from fednnunet.federation.privacy.settings import Privacy
    from fednnunet.federation.training_spec import Training

_BY_LOSS = ("qfedavg", "propfair")  # weigh replies by losses, which do not leave with privacy


def check_privacy(training: Training) -> None:
    """Raise InputError where something of the training would leave without noise."""
    privacy = training.privacy
    if privacy is None:
        return
    for settings in training.runs.values():
        if fault := _fault_of_method(settings, privacy):
            raise InputError(
                f"differential privacy cannot be used with {label(settings)}: {fault}",
                where="training.privacy",
                mend='choose another method, such as "fedavg" or "fedease"',
            )
    for clash, why, mend in (
        (
            bool(training.figures_in("joint")),
            "the figures of the rule of weights have no noise",
            "weights and training.merging",
        ),
        (
            training.weights.tag in ("loss_bound", "fedmix", "held_out_dice", "annotated_voxels"),
            "the rule of weights needs losses or overlaps, which do not leave",
            "weights",
        ),
        (
            training.pretraining_rounds and privacy.unit == "patient",
            "pretraining has no gradients by patient",
            "pretraining_rounds",
        ),
        (training.contribution, "the probe of training.contribution has no noise", "contribution"),
        (
            training.sites_per_round and training.selection == "loss",
            "sites are chosen by losses, which do not leave",
            "selection",
        ),
        (
            training.pseudo_labels is not None and privacy.unit == "patient",
            "pseudo-labels carry one patient's influence into the gradients of others",
            "pseudo_labels",
        ),
    ):
        if clash:
            raise InputError(
                f"differential privacy cannot be used so: {why}",
                where="training.privacy",
                mend=f"take training.{mend} out, or the table [training.privacy]",
            )


def _fault_of_method(settings: Settings, privacy: Privacy) -> str:
    method = settings.build()
    if run_kind(settings) == "pooled":
        return "it trains on all cases in one place"
    if method.extras:
        return f"it sends more than weights, without noise ({method.extras_words})"
    if settings.tag in _BY_LOSS:
        return "it weighs sites by their losses, which do not leave"
    if privacy.unit == "patient" and method.local_rule.gradient_rules:
        return "it takes several gradients in an iteration, which are not clipped by patient"
    return ""
