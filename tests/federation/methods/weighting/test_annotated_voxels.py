"""Weights by annotated voxels of each class."""

from __future__ import annotations

import pytest

from fednnunet.errors import InputError
from fednnunet.federation.methods.weighting.annotated_voxels import AnnotatedVoxels
from tests.federation.methods.replies import a_reply, a_state


def reply(site, cases, overlap=(), *, labelled=True):
    return a_reply(site, (0.0, 0.0), cases=cases, overlap=overlap, labelled=labelled)


def weights(*replies, **settings):
    return AnnotatedVoxels(**settings).weights(a_state(), replies)


def test_every_class_counts_the_same_by_hand():
    # Voxels of class 1: 2 * (10 + 5) = 30 and 1 * 10 = 10; of class 2: 0 and 1 * (3 + 1) = 4.
    a = reply("a", 2, ((10, 99, 5), (0, 7, 0)))
    b = reply("b", 1, ((10, 0, 0), (3, 0, 1)))
    found = weights(a, b)
    assert found == pytest.approx({"a": (30 / 40 + 0) / 2, "b": (10 / 40 + 1) / 2})


def test_sites_without_labels_count_by_their_cases_times_the_strength():
    a, u = reply("a", 4, ((1, 0, 0),)), reply("u", 2, labelled=False)
    assert weights(a, u, strength=0.5) == pytest.approx({"a": 1.0, "u": 0.5 * 2 / 4})
    assert weights(u) == {"u": 2.0}


def test_a_labelled_site_that_states_no_voxels_counts_by_its_cases():
    a, b = reply("a", 3, ((4, 0, 0),)), reply("b", 1)
    assert weights(a, b) == pytest.approx({"a": 3 / 4, "b": 1 / 4})
    assert weights(b) == {"b": 1.0}


def test_a_strength_out_of_range_is_refused():
    with pytest.raises(InputError, match="strength"):
        AnnotatedVoxels(strength=-1)
