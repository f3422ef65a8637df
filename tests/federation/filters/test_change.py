"""What filters of changes share: which tensors, entropy coding, and codes that are none."""

from __future__ import annotations

import pytest
import torch

from fednnunet.errors import FedNNUNetError, ReplyError
from fednnunet.federation.filters.change import (
    compressed,
    decompressed,
    from_bytes,
    is_change,
    is_coded,
    sent_change,
    to_bytes,
    with_changes,
)
from tests.federation.filters.contexts import CONV, NORM, a_context, trained


def test_weights_are_coded_and_norm_layers_counters_and_extras_are_not():
    context = a_context()
    names = (CONV, NORM, "count", "extras/control", "never received")
    assert [is_coded(name, context) for name in names] == [True, False, False, False, False]
    assert [is_change(name, context) for name in names] == [True, True, False, False, False]


def test_bytes_and_compression_are_undone():
    values = torch.tensor([1.5, -2.0, 0.0])
    assert torch.equal(from_bytes(to_bytes(values), torch.float32), values)
    assert decompressed(compressed(to_bytes(values)), 12) == to_bytes(values)
    assert len(from_bytes(b"", torch.float32)) == 0


@pytest.mark.parametrize(
    "code",
    [
        torch.zeros(9, dtype=torch.uint8),
        compressed(bytes(11)),
        compressed(bytes(13)),
        compressed(bytes(10**7)),  # a bomb is not unpacked
        compressed(bytes(12))[:-1],
    ],
)
def test_data_of_another_size_are_refused(code):
    with pytest.raises(ValueError, match=r"bytes of data|compressed"):
        decompressed(code, 12)


def test_what_a_code_loses_is_remembered_only_if_it_is_wanted():
    payload, memory = trained(), {}
    half = lambda change: (change / 2).round()  # noqa: E731
    sent_change(CONV, payload[CONV], a_context(memory=memory), half, None)
    assert not memory
    change = payload[CONV] - a_context().received[CONV]
    sent_change(CONV, payload[CONV], a_context(memory=memory), half, lambda code, like: 2 * code)
    torch.testing.assert_close(memory[CONV], change - 2 * (change / 2).round())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_not_sent_as_if_nothing_had_changed(value):
    payload, memory = trained(), {}
    payload[CONV][0, 0, 0, 0, 0] = value
    for decode in (None, lambda code, like: like):
        with pytest.raises(FedNNUNetError, match="not finite"):
            sent_change(CONV, payload[CONV], a_context(memory=memory), torch.clone, decode)
    assert not memory


@pytest.mark.parametrize("code", [torch.zeros(4), torch.zeros(2, 2, dtype=torch.uint8)])
def test_a_tensor_that_is_no_code_is_refused_by_name(code):
    with pytest.raises(ReplyError, match=CONV) as caught:
        with_changes({CONV: code}, a_context(), lambda code, like: like)
    assert "training.filters" in caught.value.mend
