"""A site's rounds with differential privacy: what leaves, what it costs, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fednnunet.dataset import Case
from fednnunet.errors import FedNNUNetError, InputError, PlanError, RefusalError
from fednnunet.federation.privacy.accountant import Mechanism, epsilon
from fednnunet.federation.privacy.settings import Privacy
from fednnunet.federation.site.policy import PrivacyLimits, SitePolicy
from fednnunet.federation.site.private_training import (
    PrivateTraining,
    cases_by_patient,
    check_before_training,
)
from fednnunet.federation.training_spec import Training
from fednnunet.federation.wire.messages import TrainInvite, pack
from fednnunet.training.initial import initial_tensors
from tests.federation.site_fakes import CONFIGURATION, ITERATIONS, ROUNDS, a_trainer
from tests.training.fakes import small_plan

pytest.importorskip("dp_accounting", reason="the extra dp is not installed")

PATIENT = Privacy(noise=4.0, delta=1e-3, patients_per_iteration=2.0)
SITE = Privacy(unit="site", clip=0.1, noise=8.0, delta=1e-3)


def training(privacy: Privacy | None) -> Training:
    return Training(rounds=ROUNDS, iterations_per_round=ITERATIONS, device="cpu", privacy=privacy)


def trainer(folder, privacy: Privacy | None, *, stated: bool = True, **changes):
    changes = {"training": training(privacy), "patients_stated": stated, **changes}
    return a_trainer(folder, "one", **changes)


def an_invite(site, number: int = 0, **changes) -> TrainInvite:
    values: dict = {
        "tensors": initial_tensors(site.plan, CONFIGURATION, seed=0),
        "run": "",
        "method": "fedavg",
        "round": number,
        "phase": "joint",
        "resume_round": number,
        "iterations": ITERATIONS,
        "schedule_start": number * ITERATIONS,
        "schedule_length": ROUNDS * ITERATIONS,
    }
    return TrainInvite(**{**values, **changes})


def sent(reply) -> bytes:
    return pack(replace(reply, seconds=0, wait_share=0))


def test_by_patient_every_iteration_is_a_sampled_step(tmp_path):
    site = trainer(tmp_path, PATIENT)
    step = Mechanism(noise=4.0, rate=2 / 3, steps=ITERATIONS)
    for number in range(ROUNDS):
        reply = site.train(an_invite(site, number))
        assert reply.spent.epsilon == epsilon([step] * (number + 1), 1e-3)
        assert reply.spent.rounds == number + 1


def test_by_site_a_round_is_one_step_with_twice_the_clip_as_sensitivity(tmp_path):
    site = trainer(tmp_path, SITE)
    reply = site.train(an_invite(site))
    assert reply.spent.epsilon == epsilon([Mechanism(noise=4.0)], 1e-3)


@pytest.mark.parametrize("privacy", [PATIENT, SITE])
def test_figures_of_training_cases_stay_at_the_site(tmp_path, privacy):
    open_reply = trainer(tmp_path / "a", None).train(an_invite(trainer(tmp_path / "a", None)))
    site = trainer(tmp_path / "b", privacy)
    reply = site.train(an_invite(site))
    assert open_reply.spent is None
    assert reply.loss is None
    assert reply.overlap == ()
    assert all(torch.isfinite(tensor).all() for tensor in reply.tensors.values())


@pytest.mark.parametrize("privacy", [PATIENT, SITE])
def test_a_resumed_training_goes_on_with_key_and_account(tmp_path, privacy):
    """As after a crash before the reply left: the same bytes, counted once."""
    site = trainer(tmp_path, privacy)
    site.train(an_invite(site))
    once = site.train(an_invite(site, 1))
    again = trainer(tmp_path, privacy).train(an_invite(site, 1))
    assert sent(once) == sent(again)
    assert again.spent.rounds == 2


def test_a_round_begun_anew_has_other_noise_and_counts_again(tmp_path):
    site = trainer(tmp_path, SITE)
    once, again = site.train(an_invite(site)), site.train(an_invite(site))
    assert sent(once) != sent(again)
    assert again.spent.epsilon == epsilon([Mechanism(noise=4.0)] * 2, 1e-3)


def test_without_noise_the_update_is_clipped(tmp_path):
    site = trainer(tmp_path, replace(SITE, noise=0.0))
    invite = an_invite(site)
    reply = site.train(invite)
    squares = sum((t - invite.tensors[n]).square().sum() for n, t in reply.tensors.items())
    assert float(squares.sqrt()) == pytest.approx(0.1, rel=1e-3)
    assert reply.spent.epsilon is None
    assert reply.spent.gaps == ("no_noise",)


def test_where_nothing_leaves_nothing_is_spent_and_training_is_as_ever(tmp_path):
    changes = {"phase": "personal", "tensors": {}}
    site, plain = trainer(tmp_path / "a", PATIENT), trainer(tmp_path / "b", None)
    reply = site.train(an_invite(site, **changes))
    assert reply.spent is None
    plain.train(an_invite(plain, **changes))
    one, other = site.state_after(1).network, plain.state_after(1).network
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])


def gaps(folder, privacy, **changes):
    site = trainer(folder, privacy, **changes).site
    return PrivateTraining(site=site, privacy=privacy).gaps


def test_there_is_no_figure_where_an_assumption_does_not_hold(tmp_path):
    assert gaps(tmp_path, PATIENT) == ()
    assert gaps(tmp_path, PATIENT, stated=False) == ("patients_not_stated",)
    assert gaps(tmp_path, SITE, stated=False) == ()
    routed = replace(training(PATIENT), routed=True)
    policy = SitePolicy(share_model=True)
    assert gaps(tmp_path, PATIENT, training=routed) == ()
    assert gaps(tmp_path, PATIENT, training=routed, policy=policy) == ("model_leaves",)


def test_a_round_beyond_the_policys_epsilon_is_refused_before_training(tmp_path):
    limit = epsilon([Mechanism(noise=4.0)], 1e-3) * 1.01
    policy = SitePolicy(min_cases=1, privacy=PrivacyLimits(max_epsilon=limit))
    site = trainer(tmp_path, SITE, policy=policy)
    site.train(an_invite(site))
    again = trainer(tmp_path, SITE, policy=policy)  # a restart does not reset it
    with pytest.raises(RefusalError, match="would be") as found:
        again.train(an_invite(again, 1))
    assert found.value.advice == "epsilon_spent"
    assert not (tmp_path / "one" / "state" / "round_0002").exists()


def test_patients_with_several_cases_are_sampled_whole(tmp_path):
    site = trainer(tmp_path, PATIENT, patients=(("case0", "case1"), ("case2",))).site
    private = PrivateTraining(site=site, privacy=PATIENT)
    assert private.mechanism(5) == Mechanism(noise=4.0, rate=1.0, steps=5)


def test_cases_by_patient():
    cases = [
        Case(name=name, images=(Path("x"),), label=None, group=group)
        for name, group in (("b_2", "b"), ("a_1", "a"), ("b_1", "b"))
    ]
    assert cases_by_patient(cases) == (("a_1",), ("b_1", "b_2"))


def check(privacy: Privacy | None, *, policy=None, norm: str = "instance", patients: int = 50):
    plan = small_plan(norm=norm)[0]
    check_before_training(training(privacy), policy or SitePolicy(), plan, patients, site="a")


def test_what_suits_is_accepted():
    check(None)
    check(PATIENT)
    check(SITE, policy=SitePolicy(privacy=PrivacyLimits(max_epsilon=1.0)))


@pytest.mark.parametrize(
    ("changes", "kind", "what"),
    [
        ({"privacy": PATIENT, "norm": "batch"}, PlanError, "batch normalisation, which mixes"),
        ({"privacy": PATIENT, "patients": 1000}, InputError, "delta is 0.001, and site a has 1000"),
        (
            {"privacy": None, "policy": SitePolicy(privacy=PrivacyLimits(max_epsilon=1.0))},
            RefusalError,
            "policy limits epsilon, and the training has no",
        ),
    ],
)
def test_what_does_not_suit_is_one_message_before_training(changes, kind, what):
    with pytest.raises(kind, match=what) as found:
        check(**changes)
    assert isinstance(found.value, FedNNUNetError)
    assert found.value.mend
