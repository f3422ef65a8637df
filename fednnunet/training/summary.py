"""Figures of a local training job, for the history."""

from __future__ import annotations

from dataclasses import dataclass

from fednnunet.training.counts import DiceCounts


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSummary:
    """Figures of `iterations`; `dice` is over the training's own (augmented) patches of the
    `cases`, by name.

    `loss` is the mean, `loss_spread` the standard deviation over the iterations, `learning_rate`
    the last one. `wait_seconds` of `seconds` were spent waiting
    for batches. `memory_gib` is the peak, of the GPU or of this process. `micro_batch` is the
    number of samples that went through the network at once. `notes` say what a user should know.
    """

    iterations: int
    loss: float
    learning_rate: float
    seconds: float
    wait_seconds: float
    memory_gib: float
    micro_batch: int
    dice: DiceCounts
    cases: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    loss_spread: float = 0.0

    @property
    def wait_share(self) -> float:
        """Share of the time in which the network waited for data."""
        return self.wait_seconds / self.seconds if self.seconds else 0.0
