"""Which rounds may be added to a training, and what learning rate they have."""

from __future__ import annotations

from pathlib import Path

import pytest

from fednnunet.errors import InputError
from fednnunet.federation.coordinator.extension import check_rounds_done, extended
from fednnunet.federation.coordinator.history import load_records
from fednnunet.federation.wire.phases import Phases
from fednnunet.training.recipe import learning_rate_at, recipe_named
from tests.federation.coordinator.test_history import a_record
from tests.federation.fakes import PretendEngine, a_run, go

FOLDER = Path("run")
JOINT = [a_record(number, "a", of=3) for number in (1, 2, 3)]
PUBLIC = [*JOINT, a_record(4, "a", phase="public", of=4)]


@pytest.mark.parametrize(
    ("done", "phases"),
    [
        ([], Phases(joint=1)),
        (JOINT, Phases(joint=3)),
        (JOINT, Phases(joint=4)),
        (JOINT, Phases(joint=3, public=2)),
        (JOINT[:1], Phases(joint=2)),
        (PUBLIC, Phases(joint=3, public=2)),
    ],
)
def test_rounds_are_added_after_those_that_are_done(done, phases):
    check_rounds_done(done, phases, FOLDER)


@pytest.mark.parametrize(
    ("done", "phases", "words"),
    [
        (JOINT, Phases(joint=2), "3 rounds are done, and the federation file has 2 now"),
        (PUBLIC, Phases(joint=4, public=1), "round 4 was public, .* it would be joint now"),
        (PUBLIC, Phases(joint=3, personal=1, public=1), "it would be personal now"),
    ],
)
def test_rounds_that_are_done_stay_what_they_were(done, phases, words):
    with pytest.raises(InputError, match=words) as caught:
        check_rounds_done(done, phases, FOLDER)
    assert "another run folder" in caught.value.mend


def test_a_change_is_said_in_words():
    assert extended([], Phases(joint=4)) == ""
    assert extended(JOINT, Phases(joint=3)) == ""
    assert extended(JOINT, Phases(joint=4)).startswith("4 rounds in place of 3; done so far: 3")


def test_an_added_round_has_the_rate_that_it_has_in_so_many_rounds(tmp_path):
    first, engine = a_run(tmp_path, "fedavg", rounds=3, public_rounds=0), PretendEngine()
    go(first, engine)
    each = first.training.iterations_per_round
    longer = a_run(tmp_path, "fedavg", rounds=4, public_rounds=0)
    assert longer.key == first.key
    go(longer, engine)
    asked = [(i.round, i.schedule_start, i.schedule_length) for i in engine.asked]
    assert asked == [*((n, n * each, 3 * each) for n in range(3)), (3, 3 * each, 4 * each)]
    rate = learning_rate_at(recipe_named("nnunet"), asked[-1][1], asked[-1][2])
    assert rate == pytest.approx(0.01 * 0.29, abs=1e-4)  # as the module's text says
    assert [record.of for record in load_records(tmp_path / "rounds")] == [3, 3, 3, 4]
