"""A supervision as groups of labels."""

from __future__ import annotations

import pytest

from fednnunet.errors import InputError
from fednnunet.supervision import Supervision
from fednnunet.training.targets import make_targets
from tests.training.fakes import small_task


def partial(*annotated):
    return Supervision(kind="partial", annotated=annotated)


def test_what_a_site_annotates_must_be_of_the_task():
    with pytest.raises(InputError, match="annotate the values"):
        make_targets(small_task(), partial(0))
    with pytest.raises(InputError, match="annotate the values"):
        make_targets(small_task(), partial(7))
