"""Patches without any label are mixed with each other, and so are the losses on their labels.

Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018; between unannotated sites'
patches in Mushtaq et al., "Federated Alternate Training (FAT): Leveraging Unannotated Data Silos in
Federated Segmentation for Medical Imaging", ISBI 2023. With l from Beta(a, a) a patch x with
pseudo-labels y and the next one x', y' become

    l x + (1 - l) x'   with the loss   l L(y) + (1 - l) L(y').

Only patches of which nothing is known are mixed, so what is known is never taught on a mixture.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from fednnunet.training.batches import Batch


def mixed(batch: Batch, alpha: float, seed: int) -> Batch:
    """The batch, which has pseudo-labels once, with patches of kind "none" mixed among each other.

    `alpha` above 0 is the beta distribution's parameter.
    """
    rows = [row for row, s in enumerate(batch.supervision) if s.kind == "none"]
    if len(rows) < 2:
        return batch
    share = float(np.random.default_rng(seed).beta(alpha, alpha))
    partner = {row: rows[(index + 1) % len(rows)] for index, row in enumerate(rows)}
    others = [partner.get(row, row) for row in range(len(batch))]
    image = share * batch.image + (1 - share) * torch.stack([batch.image[row] for row in others])
    (pseudo,), (weight,) = batch.pseudo, batch.pseudo_weights
    return replace(
        batch,
        image=image,
        pseudo=(pseudo, torch.stack([pseudo[row] for row in others])),
        pseudo_weights=(share * weight, (1 - share) * weight),
    )
