"""Which phase a round is in, its place in the schedule, and what leaves a site in it."""

from __future__ import annotations

import pytest
import torch

from fednnunet.federation.methods.catalogue import METHODS
from fednnunet.federation.wire.phases import Phases

PHASES = Phases(joint=3, personal=2, public=1)
TENSORS = {"encoder.0.blocks.0.conv.weight": torch.ones(1), "heads.0.weight": torch.ones(1)}


def test_phases_follow_each_other():
    found = [PHASES.of(number) for number in range(PHASES.total)]
    assert found == ["joint", "joint", "joint", "personal", "personal", "public"]
    assert PHASES.own == 5


def test_each_phase_has_a_whole_schedule_of_its_own():
    places = [PHASES.schedule(number) for number in range(PHASES.total)]
    assert places == [(0, 3), (1, 3), (2, 3), (0, 2), (1, 2), (0, 1)]


def test_a_continued_schedule_runs_over_joint_and_personal_rounds():
    phases = Phases(joint=3, personal=2, public=1, continued=True)
    places = [phases.schedule(number) for number in range(phases.total)]
    assert places == [(0, 5), (1, 5), (2, 5), (3, 5), (4, 5), (0, 1)]


def test_pretraining_comes_first_on_a_schedule_of_its_own():
    phases = Phases(pretraining=2, joint=3, personal=1, continued=True)
    assert [phases.of(number) for number in range(3)] == ["pretraining", "pretraining", "joint"]
    assert (phases.joint_end, phases.own, phases.total) == (5, 6, 6)
    assert [phases.schedule(n) for n in range(6)] == [
        (0, 2),
        (1, 2),
        (0, 4),
        (1, 4),
        (2, 4),
        (3, 4),
    ]
    apart = Phases(pretraining=2, joint=3, personal=2)
    assert [apart.schedule(number) for number in (1, 2, 4, 5)] == [(1, 2), (0, 3), (2, 3), (0, 2)]


def test_a_schedule_in_iterations_of_a_site():
    assert PHASES.iterations(2, 25) == (50, 75)
    assert PHASES.iterations(4, 10) == (10, 20)


@pytest.mark.parametrize("name", METHODS)
def test_nothing_leaves_in_the_personal_phase_and_everything_leaves_in_some_other(name):
    method = METHODS[name]
    assert method.outgoing(TENSORS, "personal") == {}
    joint, public = (set(method.outgoing(TENSORS, phase)) for phase in ("joint", "public"))
    assert public == (set(TENSORS) if method.mean_needs_training else set(TENSORS) - joint)
    assert joint | public == set(TENSORS)
