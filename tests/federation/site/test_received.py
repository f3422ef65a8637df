from __future__ import annotations

import pytest
import torch

from fednnunet.errors import RefusalError
from fednnunet.federation.methods.catalogue import METHODS
from fednnunet.federation.site.received import check_tensors, extras_of
from fednnunet.federation.wire.tensors import MAX_COUNT, MAX_EXTRA, MAX_VALUE

WANTED = {"w": torch.zeros(2, 3), "steps": torch.tensor(0), "none": torch.zeros(0)}


def test_the_agreed_tensors_pass_up_to_the_limits():
    check_tensors(WANTED, WANTED)
    check_tensors(WANTED | {"w": torch.full((2, 3), -MAX_VALUE)}, WANTED)
    check_tensors(WANTED | {"steps": torch.tensor(MAX_COUNT)}, WANTED)
    extra = {"extras/control/w": torch.tensor([MAX_EXTRA])}
    check_tensors(extra, extra)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"more": torch.zeros(1)}, "brings the tensor 'more'"),
        ({"w": torch.zeros(3, 2)}, r"w is \[3, 2\]"),
        ({"w": torch.zeros(2, 3, dtype=torch.float64)}, "float64, not"),
        ({"w": torch.full((2, 3), float("nan"))}, "not finite or above 1e\\+06"),
        ({"w": torch.full((2, 3), 1.1e6)}, "above 1e\\+06"),
        ({"steps": torch.tensor(MAX_COUNT + 1)}, "steps holds values"),
        ({"steps": torch.tensor(-(2**63))}, "steps holds values"),
    ],
)
def test_anything_else_is_refused_by_name(change, words):
    with pytest.raises(RefusalError, match=words) as caught:
        check_tensors(WANTED | change, WANTED)
    assert caught.value.advice == "as_agreed"


def test_missing_tensors_are_counted_and_a_long_name_is_shortened():
    with pytest.raises(RefusalError, match=r"lacks the tensor 'none' .*\(3 tensors in all\)"):
        check_tensors({}, WANTED)
    with pytest.raises(RefusalError) as caught:
        check_tensors(WANTED | {"a" * 10_000: torch.zeros(1)}, WANTED)
    assert len(caught.value.what) < 200


def test_extras_come_whole_or_not_at_all():
    method, network = METHODS["scaffold"], {"encoder.w": torch.zeros(2), "heads.0.b": torch.ones(1)}
    assert extras_of(method, network, (), ("a", "b")) == {}
    found = extras_of(method, network, ["control/encoder.w"], ("a", "b"))
    assert set(found) == {"control/encoder.w", "control/heads.0.b"}
    assert extras_of(METHODS["fedavg"], network, ["control/encoder.w"], ("a",)) == {}
