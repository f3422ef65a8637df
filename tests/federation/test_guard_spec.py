"""The table `[training.guard]`."""

from __future__ import annotations

import pytest

from fednnunet.errors import InputError
from fednnunet.federation.guard_spec import Guard
from fednnunet.federation.training_spec import Training


@pytest.mark.parametrize(
    ("share", "joint", "rounds"),
    [(0.3, 40, 12), (0.3, 24, 8), (0.3, 11, 4), (0.3, 10, 0), (0, 40, 0)],
)
def test_a_trial_takes_its_share_of_the_rounds_or_none_if_that_is_too_few(share, joint, rounds):
    assert Guard(share=share).rounds(joint) == rounds
    assert Guard(share=share).compared(joint) == rounds // 2


def test_a_share_beyond_the_whole_training_is_refused():
    with pytest.raises(InputError, match="share"):
        Guard(share=1.5)


def test_there_is_a_trial_by_default():
    assert Training().guard == Guard()
    assert Training().guard.rounds(Training().rounds) == 12
