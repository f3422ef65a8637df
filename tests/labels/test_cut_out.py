from __future__ import annotations

import torch

from fednnunet.labels.cut_out import CutOut
from fednnunet.training.augment import seeded


def test_a_box_within_the_patch_becomes_0_and_the_rest_stays():
    image = torch.ones(2, 10, 10, 10)
    for seed in range(20):
        with seeded(seed):
            found = CutOut(chance=1.0, edge=0.4)(image=image, segmentation=None)["image"]
        assert torch.equal(found[0], found[1])
        places = torch.nonzero(found[0] == 0)
        low, high = places.min(0).values, places.max(0).values
        edges = (high - low + 1).tolist()
        assert all(1 <= edge <= 4 for edge in edges)
        assert len(places) == edges[0] * edges[1] * edges[2]
    assert image.min() == 1


def test_by_chance_alone_the_patch_is_as_it_was():
    image = torch.ones(1, 4, 4)
    with seeded(0):
        assert CutOut(chance=0.0, edge=0.4)(image=image)["image"] is image
