"""Which sites are asked for a model of their own after the rounds."""

from __future__ import annotations

from pathlib import Path

from fednnunet.federation.membership import Member
from fednnunet.federation.workflows.own_models import own_models
from tests.federation.fakes import INITIAL, MEMBERS, PretendEngine, a_run, go


def asked(folder: Path, method: str, members: dict[str, Member] = MEMBERS, **settings: object):
    run = a_run(folder, method, **settings)
    state = go(run, PretendEngine(), members)
    return own_models(run, INITIAL, state, members)


def test_sites_of_a_method_that_shares_all_have_none(tmp_path: Path) -> None:
    assert asked(tmp_path, "fedavg") == {}


def test_each_site_is_asked_for_its_own_after_its_last_round(tmp_path: Path) -> None:
    members = {**MEMBERS, "b": Member(cases=2, leaves=2)}
    found = asked(tmp_path, "fedbn", members)
    assert {site: invite.round for site, invite in found.items()} == {"a": 4, "b": 2, "c": 4}
    assert all(invite.personal and not invite.best for invite in found.values())
    assert found["a"].tensors.keys() and not found["b"].tensors  # it has left


def test_models_that_were_judged_on_the_way_are_the_best(tmp_path: Path) -> None:
    found = asked(tmp_path, "fedavg", personal_rounds=1, validate_every=1, keep="best")
    assert all(invite.best and not invite.tensors for invite in found.values())
    assert found.keys() == MEMBERS.keys()
