from __future__ import annotations

import torch

from fednnunet.labels.refinement import overruled
from fednnunet.supervision import UNKNOWN

U = UNKNOWN


def test_what_is_known_overrules():
    possible = torch.tensor([[[[1, 1, 0, 1, 0]], [[0, 1, 1, 1, 0]], [[0, 0, 0, 1, 0]]]]).bool()
    labels = torch.tensor([[[1, 2, U, 2, 1]]], dtype=torch.int16)
    found = overruled(labels, possible)
    assert found.flatten().tolist() == [0, U, 1, 2, U]
    assert found.dtype == torch.int16
    assert labels.flatten().tolist() == [1, 2, U, 2, 1]


def test_an_unknown_label_stays_unknown_where_the_first_class_is_possible():
    possible = torch.tensor([[[[1]], [[1]], [[1]]]]).bool()
    assert overruled(torch.tensor([[[U]]], dtype=torch.int16), possible).item() == U


def test_it_works_on_volumes_too():
    generator = torch.Generator().manual_seed(2)
    possible = torch.rand(2, 3, 2, 3, 4, generator=generator) < 0.6
    labels = torch.randint(0, 3, (2, 2, 3, 4), generator=generator, dtype=torch.int16)
    found = overruled(labels, possible)
    given = found != U
    allowed = possible.gather(1, found.clamp_min(0).long()[:, None])[:, 0]
    assert given.any() and allowed[given].all()
    assert given[possible.sum(1) == 1].all() and not given[possible.sum(1) == 0].any()
