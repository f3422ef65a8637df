"""Batches of patients for differential privacy: each is in an iteration by chance, independently.

This is Poisson sampling, which the accountant assumes. Who is in an iteration follows from the
site's secret key, not from the federation's seed, since the accountant counts on nobody knowing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from fednnunet.secret_noise import uniform
from fednnunet.training.batches import Batch, BatchSource
from fednnunet.training.secret_key import key_in
from fednnunet.training.state import TrainingState


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplePatients:
    """How the patients of an iteration are chosen: each of `patients` with probability `rate`.

    `patients` has the cases of each by name. Of a patient there are `patches`, each of one of the
    cases, chosen at random. `use` tells the round, so that one that is trained again from an older
    state has other patients.
    """

    patients: tuple[tuple[str, ...], ...]
    rate: float
    patches: int
    use: str = ""

    def __call__(self, source: BatchSource, state: TrainingState, /) -> PatientSource:
        """The source of batches of a job; the key is that of the state's memory."""
        return PatientSource(base=source, sampling=self, key=key_in(state.memory))


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientSource:
    """Makes the batch of any iteration: `patches` samples in a row of each patient in it."""

    base: BatchSource
    sampling: SamplePatients
    key: bytes

    def __getitem__(self, step: int) -> Batch:
        parts = [part for patient in self.chosen(step) for part in self._patches(step, patient)]
        return _joined(parts) if parts else self._empty()

    def cases(self, step: int) -> frozenset[str]:
        """The names of the cases that the batch of an iteration may be of."""
        return frozenset(n for place in self.chosen(step) for n in self.sampling.patients[place])

    def chosen(self, step: int) -> tuple[int, ...]:
        """The places in `sampling.patients` of an iteration's patients; there may be none."""
        chances = uniform(
            self.key, f"sample/{self.sampling.use}/{step}", len(self.sampling.patients)
        )
        return tuple(int(place) for place in np.flatnonzero(chances < self.sampling.rate))

    def _patches(self, step: int, patient: int) -> list[Batch]:
        """Each patch from a source of its own, whose chances follow from the key."""
        count = self.sampling.patches
        chances = uniform(self.key, f"patches/{self.sampling.use}/{step}/{patient}", 2 * count)
        names = self.sampling.patients[patient]
        return [
            replace(
                self.base,
                names=names,
                size=1,
                foreground=float(chances[2 * place] < self.base.foreground),
                seed=int(chances[2 * place + 1] * 2**52),
            )[step]
            for place in range(count)
        ]

    def _empty(self) -> Batch:
        augmenter = self.base.augmenter
        edges = augmenter.size.final_vox[augmenter.is_2d :]
        image = torch.zeros((0, len(self.base.task.channels), *edges))
        return Batch(image, torch.zeros((0, *edges), dtype=torch.int16))


def _joined(parts: Sequence[Batch]) -> Batch:
    return Batch(
        torch.cat([part.image for part in parts]),
        torch.cat([part.labels for part in parts]),
        tuple(kind for part in parts for kind in part.supervision),
    )
