from __future__ import annotations

from pathlib import Path

import pytest

from fednnunet.errors import InputError, RefusalError
from fednnunet.federation.given_start import FOLDER, first_weights, keep_start, receive_start
from fednnunet.federation.training_spec import Training
from fednnunet.training.initial import initial_tensors
from fednnunet.training.start import weights_digest
from tests.interop.models import make_plan

PLAN = make_plan()
NAME = PLAN.configurations[0].name
GIVEN = initial_tensors(PLAN, NAME, seed=7)
DIGEST = weights_digest(GIVEN)


def test_without_a_start_the_seed_makes_the_weights(tmp_path: Path) -> None:
    receive_start(tmp_path, {}, "")
    made = first_weights(tmp_path, PLAN, NAME, Training(seed=7))
    assert all(made[name].equal(tensor) for name, tensor in GIVEN.items())
    assert not (tmp_path / FOLDER).exists()


def test_the_agreed_weights_are_kept_for_a_restart(tmp_path: Path) -> None:
    receive_start(tmp_path, GIVEN, DIGEST)
    receive_start(tmp_path, {}, DIGEST)  # the site prepares again
    found = first_weights(tmp_path, PLAN, NAME, Training(start=DIGEST))
    assert all(found[name].equal(tensor) for name, tensor in GIVEN.items())


@pytest.mark.parametrize("digest", ["", DIGEST])
def test_other_weights_than_the_agreed_ones_are_refused(digest: str, tmp_path: Path) -> None:
    other = {name: tensor + 1 for name, tensor in GIVEN.items()}
    with pytest.raises(RefusalError, match="not the agreed ones") as caught:
        receive_start(tmp_path, other, digest)
    assert caught.value.advice == "same_federation_file"
    assert not (tmp_path / FOLDER).exists()


def test_a_start_that_never_came_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusalError, match="not the agreed ones"):
        receive_start(tmp_path, {}, DIGEST)


def test_missing_changed_and_unfitting_weights_are_no_start(tmp_path: Path) -> None:
    agreed = Training(start=DIGEST)
    with pytest.raises(InputError, match="are not there") as caught:
        first_weights(tmp_path, PLAN, NAME, agreed)
    assert "--from BUNDLE" in caught.value.mend
    keep_start(tmp_path, initial_tensors(PLAN, NAME, seed=8))
    with pytest.raises(InputError, match="are not there"):
        first_weights(tmp_path, PLAN, NAME, agreed)
    keep_start(tmp_path, GIVEN)
    with pytest.raises(InputError, match="are not there"):
        first_weights(tmp_path, make_plan("residual_3d"), NAME, agreed)
