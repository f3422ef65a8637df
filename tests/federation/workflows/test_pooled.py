"""All sites' cases in one place, as a reference."""

from __future__ import annotations

import pytest

from fednnunet.errors import InputError
from fednnunet.federation.coordinator.engine import Deadline
from fednnunet.federation.engines.in_process import InProcessEngine
from fednnunet.federation.training_spec import Training
from fednnunet.federation.wire.messages import EvaluateInvite, TrainReply, pack, unpack
from fednnunet.federation.workflows.pooled import NAME, pooled_engine, pooled_training
from fednnunet.supervision import SiteSupervision, Supervision
from fednnunet.training.initial import initial_tensors
from tests.contracts.helpers import an_invite
from tests.federation.site_fakes import CONFIGURATION, a_site


class Hospital:
    def __init__(self, prepared):
        self.prepared = prepared

    def answer(self, data):
        raise AssertionError("a pooled training asks no site")


def an_engine(tmp_path, **changes) -> InProcessEngine:
    sites = {"one": a_site(tmp_path, "one"), "other": a_site(tmp_path, "other", **changes)}
    return InProcessEngine({name: Hospital(site) for name, site in sites.items()})


def test_one_site_trains_on_the_cases_of_all(tmp_path):
    engine = an_engine(tmp_path)
    pooled = pooled_engine(engine, tmp_path)
    site = pooled.local(NAME).prepared
    assert pooled.sites == (NAME,)
    assert len(site.cases) == sum(len(engine.local(s).prepared.cases) for s in engine.sites)
    for name in site.cases:
        own, case = name.split("/")
        assert site.store.case(name) is engine.local(own).prepared.store.case(case)
    first = initial_tensors(site.plan, CONFIGURATION, seed=0)
    (answer,) = pooled.ask({NAME: an_invite("pooled", first, 0)}, Deadline())
    assert isinstance(answer.reply, TrainReply)
    assert answer.reply.cases == len(site.cases)
    assert (tmp_path / "state" / "round_0001").is_dir()


def test_a_site_without_training_cases_adds_none(tmp_path):
    pooled = pooled_engine(an_engine(tmp_path, cases=()), tmp_path)
    assert {name.split("/")[0] for name in pooled.local(NAME).prepared.cases} == {"one"}


def test_over_a_network_it_is_refused(tmp_path):
    class Remote:
        sites = ("one",)

    with pytest.raises(InputError, match="only where all sites are folders on this machine"):
        pooled_engine(Remote(), tmp_path)


def test_every_case_keeps_the_kind_of_labels_of_its_site(tmp_path):
    partial = Supervision(kind="partial", annotated=(1,))
    engine = an_engine(tmp_path, supervision=SiteSupervision(default=partial))
    pooled = pooled_engine(engine, tmp_path).local(NAME).prepared
    found = {name.split("/")[0]: pooled.supervision.of(name) for name in pooled.cases}
    assert set(found.values()) == {partial, Supervision()}
    assert pooled.supervision.of(pooled.cases[0]) in (partial, Supervision())


def test_it_only_trains(tmp_path):
    site = pooled_engine(an_engine(tmp_path), tmp_path).local(NAME)
    invite = EvaluateInvite(run="", method="pooled", round=1, personal=False)
    with pytest.raises(InputError, match="only trained on"):
        site.answer(pack(unpack(pack(invite), sender="test")))


@pytest.mark.parametrize(
    ("settings", "iterations"),
    [
        ({}, 25 * 4),
        ({"sites_per_round": 2}, 25 * 2),
        ({"sites_per_round": 9}, 25 * 4),
        ({"pooled": "iterations"}, 25),
    ],
)
def test_it_sees_as_many_samples_as_all_sites_or_takes_as_many_steps_as_one(settings, iterations):
    whole = Training(rounds=6, iterations_per_round=25, quorum=3, **settings)
    training = pooled_training(whole, (25,) * 4)
    assert (training.rounds, training.iterations_per_round) == (6, iterations)
    assert (training.quorum, training.sites_per_round) == (0, 0)


def test_personal_rounds_count_too():
    whole = Training(rounds=6, personal_rounds=2, iterations_per_round=24, sites_per_round=2)
    training = pooled_training(whole, (24,) * 4)
    assert (training.rounds, training.personal_rounds) == (8, 0)
    assert training.iterations_per_round * 8 == 24 * (6 * 2 + 2 * 4)


def test_a_sites_own_number_of_iterations_counts():
    training = pooled_training(Training(rounds=6, iterations_per_round=25), (25, 5, 10))
    assert training.iterations_per_round == 40
