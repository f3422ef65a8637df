"""How a federation file chooses filters."""

from __future__ import annotations

import pytest

from fednnunet.errors import FedNNUNetError
from fednnunet.federation.filters.catalogue import FILTERS, filter_from
from fednnunet.federation.filters.delta_bfloat16 import DeltaBfloat16
from fednnunet.federation.spec import Training

PLAIN = DeltaBfloat16(error_feedback=False)


@pytest.mark.parametrize("name", FILTERS)
def test_every_filter_can_be_named_and_says_what_it_does(name):
    assert filter_from(name).words


def test_a_table_gives_settings():
    table = {"name": "delta_bfloat16", "error_feedback": False}
    assert filter_from(table) == PLAIN
    assert Training(filters=(table,)).filter_chain == (PLAIN,)
    assert Training(filters=("delta_bfloat16",)).filter_chain == (DeltaBfloat16(),)


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("gzip", "no filter 'gzip'"),
        ({"name": "delta_bfloat16", "bits": 8}, "unknown field 'bits'"),
        ({"error_feedback": True}, "a filter cannot be"),
        (3, "a filter cannot be"),
    ],
)
def test_what_is_no_filter_is_refused_with_the_choices(entry, told):
    with pytest.raises(FedNNUNetError, match=told) as caught:
        Training(filters=(entry,))
    assert "training.filters" in str(caught.value)
    assert any(word in str(caught.value) for word in (*FILTERS, "error_feedback"))
