"""What each site of a round is sent."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fednnunet.errors import InputError
from fednnunet.federation.coordinator.rounds import run_rounds
from fednnunet.federation.spec import SiteSpec
from tests.contracts.helpers import an_invite, first_tensors
from tests.federation.fakes import INITIAL, MEMBERS, PretendEngine, a_run
from tests.federation.site_fakes import a_trainer


class Listening(PretendEngine):
    """Keeps every site's invites."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: dict[str, list] = {}

    def reply(self, site, invite):
        self.heard.setdefault(site, []).append(invite)
        return super().reply(site, invite)


def test_a_site_takes_its_own_number_of_iterations_on_a_schedule_of_its_own(tmp_path):
    engine = Listening()
    members = {**MEMBERS, "b": replace(MEMBERS["b"], iterations=7)}
    run_rounds(engine, a_run(tmp_path, rounds=3), INITIAL, members, lambda record: None)
    for site, iterations in (("a", 25), ("b", 7), ("c", 25)):
        heard = engine.heard[site]
        assert [invite.iterations for invite in heard] == [iterations] * 3
        assert [invite.schedule_start for invite in heard] == [0, iterations, 2 * iterations]
        assert {invite.schedule_length for invite in heard} == {3 * iterations}


def test_a_site_says_how_many_iterations_it_took(tmp_path):
    invite = replace(an_invite("fedavg", first_tensors(), 0), iterations=3)
    assert a_trainer(tmp_path, "one").train(invite).iterations == 3


def test_a_site_cannot_take_no_iterations(tmp_path):
    with pytest.raises(InputError, match="iterations_per_round is 0"):
        SiteSpec(folder=tmp_path, iterations_per_round=0)
