"""Rows of heads are averaged over the sites that annotate their class."""

from __future__ import annotations

import pytest
import torch

from fednnunet.federation.methods.head_rows import RowMeans
from fednnunet.federation.methods.merge import Reply, State
from fednnunet.federation.wire.figures import Figures

BODY, WEIGHT, BIAS = "decoder.0.weight", "heads.0.weight", "heads.0.bias"


def reply(site, value, annotated, *, rows=3):
    tensors = {
        BODY: torch.full((3,), value),
        WEIGHT: torch.full((rows, 2, 1, 1, 1), value),
        BIAS: torch.full((rows,), value),
    }
    figures = Figures(annotated_cases=annotated)
    return Reply(site=site, tensors=tensors, cases=1, loss=0.0, figures=figures)


def mean_of(*replies_and_weights, rows=3):
    received = reply("", 9.0, (), rows=rows).tensors
    means = RowMeans(State(round=0, shared=received))
    for one, weight in replies_and_weights:
        means.add(one, weight)
    return means.mean()


def test_rows_of_a_softmax_by_hand():
    a, b = reply("a", 1.0, (5, 0)), reply("b", 4.0, (5, 2))
    found = mean_of((a, 1.0), (b, 2.0))
    assert found[BIAS].tolist() == [3.0, 3.0, 4.0]  # background: all; class 1: both; class 2: b
    assert found[WEIGHT][:, 0, 0, 0, 0].tolist() == [3.0, 3.0, 4.0]
    assert found[BODY].tolist() == [3.0, 3.0, 3.0]


def test_rows_of_regions_have_no_background():
    a, b = reply("a", 1.0, (5, 0), rows=2), reply("b", 4.0, (0, 2), rows=2)
    assert mean_of((a, 1.0), (b, 1.0), rows=2)[BIAS].tolist() == [1.0, 4.0]


def test_a_row_that_nobody_annotates_stays_as_it_was_received():
    a, b = reply("a", 1.0, (5, 0)), reply("b", 4.0, (5, 0))
    assert mean_of((a, 1.0), (b, 1.0))[BIAS].tolist() == [2.5, 2.5, 9.0]
    only = mean_of((a, 1.0), (reply("c", 7.0, (5, 5)), 0.0))  # c does not count at all
    assert only[BIAS].tolist() == [1.0, 1.0, 9.0]


def test_a_site_that_states_nothing_counts_in_every_row():
    a, b = reply("a", 1.0, (5, 0)), reply("b", 4.0, ())
    assert mean_of((a, 1.0), (b, 1.0))[BIAS].tolist() == [2.5, 2.5, 4.0]
    assert mean_of((b, 1.0), (reply("c", 2.0, ()), 1.0))[BIAS].tolist() == [3.0, 3.0, 3.0]


@pytest.mark.parametrize("rows", [2, 3])
def test_where_all_annotate_all_it_is_the_plain_mean(rows):
    a, b = reply("a", 0.1, (5, 5), rows=rows), reply("b", 0.7, (3, 3), rows=rows)
    found = mean_of((a, 1.0), (b, 2.0), rows=rows)
    plain = mean_of((reply("a", 0.1, (), rows=rows), 1.0), (reply("b", 0.7, (), rows=rows), 2.0))
    assert all(found[name].unique().equal(plain[BODY].unique()) for name in found)
