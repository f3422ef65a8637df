"""The table [training.privacy]: its ranges, and its words."""

from __future__ import annotations

import pytest

from fednnunet.errors import InputError
from fednnunet.federation.privacy.settings import Privacy


@pytest.mark.parametrize(
    "changes",
    [
        {"clip": 0.0},
        {"noise": -1.0},
        {"delta": 0.5},
        {"delta": 0.0},
        {"patches_per_patient": 0},
        {"unit": "site", "patients_per_iteration": 4.0},
        {"unit": "site", "patches_per_patient": 2},
    ],
)
def test_what_cannot_be_is_refused(changes):
    with pytest.raises(InputError, match=next(reversed(changes))) as found:
        Privacy(**changes)
    assert found.value.mend


def test_the_words_have_clip_and_noise():
    assert "2 a patient with noise of 0.5" in Privacy(clip=2.0, noise=0.5).words
    assert Privacy(unit="site", clip=2.0).words == "update clipped to 2 with noise of 1 clips"
