from __future__ import annotations

import pytest
import torch

from fednnunet.errors import FedNNUNetError, InputError
from fednnunet.training.augment import make_augmenter
from fednnunet.training.batches import BatchSource, batches
from fednnunet.training.recipe import Augmentation
from tests.training.fakes import blobs, small_task


def source(**changes):
    values = {
        "store": blobs(),
        "names": ("case0", "case1", "case2"),
        "task": small_task(),
        "augmenter": make_augmenter((8, 8, 8), (False,), Augmentation()),
        "size": 3,
        "foreground": 0.33,
        "seed": 1,
    }
    return BatchSource(**{**values, **changes})


def same(a, b):
    return torch.equal(a.image, b.image) and torch.equal(a.labels, b.labels)


def test_a_batch_depends_on_seed_and_step_alone():
    one, two = source(), source()
    two[7]
    assert same(one[4], two[4])
    assert not same(one[4], one[5])
    assert not same(one[4], source(seed=2)[4])
    assert one[4].image.shape == (3, 1, 8, 8, 8) and one[4].labels.shape == (3, 8, 8, 8)


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_do_not_change_the_batches(workers):
    here = list(batches(source(), 3, 7, workers=0, pin=False))
    there = list(batches(source(), 3, 7, workers=workers, pin=False))
    assert len(here) == len(there) == 4
    assert all(same(a, b) for a, b in zip(here, there, strict=True))


def test_shares_make_up_the_batch():
    whole = source()[2]
    parts = [source(share=(rank, 2))[2] for rank in range(2)]
    assert torch.equal(parts[0].image, whole.image[::2])
    assert torch.equal(parts[1].image, whole.image[1::2])


class Broken:
    def case(self, name):
        import os

        os._exit(9)


def test_a_killed_worker_is_an_error_and_not_a_hang():
    with pytest.raises(FedNNUNetError, match="ended"):
        list(batches(source(store=Broken()), 0, 2, workers=1, pin=False))


def test_no_cases_is_refused():
    with pytest.raises(InputError, match="no case"):
        source(names=())
