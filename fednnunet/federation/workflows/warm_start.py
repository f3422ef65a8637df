"""Start the training of a run folder from the weights of a bundle."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from fednnunet import records
from fednnunet.errors import InputError
from fednnunet.federation.given_start import FOLDER, keep_start
from fednnunet.federation.spec import Federation
from fednnunet.federation.workflows.train import check_runs
from fednnunet.inference.bundle import Bundle
from fednnunet.planning.plan import Plan
from fednnunet.text import plural, shortened
from fednnunet.training.initial import initial_tensors
from fednnunet.training.start import same_labels, start_weights, weights_digest

RECORD = "start.json"
_FEDERATION = "federation.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """Where the first weights of a run come from: `start/start.json` in the run folder."""

    digest: str
    """SHA-256 of the first weights: `training.start` of the federation file."""
    bundle: str
    """Digest of the bundle."""
    origin: dict[str, str]
    """What the bundle says of its training."""
    taken: tuple[str, ...]
    """Names of the tensors from the bundle."""
    remade: tuple[str, ...]
    """Names of the tensors that were made from the seed."""

    def in_words(self) -> str:
        """What was taken, in a line."""
        made = shortened(", ".join(self.remade), 200) or "nothing"
        return (
            f"starts from given weights (SHA-256 {self.digest[:12]}...): "
            f"{plural(len(self.taken), 'tensor')} taken; made anew: {made}"
        )


def start_from(
    bundle: Bundle, federation: Federation, plan: Plan, folder: Path
) -> tuple[Federation, Started]:
    """Name the bundle's weights as the start of the run in `folder`; returns what it trains by now.

    Writes the first weights, where they come from, and the federation file with their digest.
    Raises InputError, and writes nothing, for a bundle that does not fit, for one that is not what
    the federation file names, and where rounds of another start are there.
    """
    training = federation.training
    if bundle.experts:
        raise InputError(
            "a bundle of experts holds several networks",
            mend="start from the global or a personal bundle",
        )
    first = initial_tensors(plan, training.configuration, seed=training.seed)
    labels = same_labels(bundle.plan.task, plan.task)
    start = start_weights(bundle.weights, first, same_labels=labels)
    digest = weights_digest(start.weights)
    if training.start not in ("", digest):
        raise InputError(
            f"the bundle gives first weights with the SHA-256 {digest}, and the federation file "
            f"names {training.start}",
            where="training.start",
            mend="start from the bundle that the sites agreed on, or agree on this one",
        )
    named = replace(federation, training=replace(training, start=digest))
    check_runs(named, plan, folder)
    keep_start(folder, start.weights)
    started = Started(
        digest=digest,
        bundle=bundle.digest,
        origin=bundle.note,
        taken=start.taken,
        remade=start.remade,
    )
    records.write(started, folder / FOLDER / RECORD)
    records.write(named, folder / _FEDERATION)
    return named, started
