"""FedDG's amplitude exchange: what leaves a site, who borrows from whom, and what training sees."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from fednnunet.errors import RefusalError
from fednnunet.federation.methods.catalogue import label
from fednnunet.federation.methods.fedavg import FedAvg
from fednnunet.federation.methods.feddg import BorrowAmplitude, FedDG, MeanAmplitude
from fednnunet.federation.methods.merge import Reply, State
from fednnunet.federation.site.policy import SitePolicy
from fednnunet.federation.spec import Training
from fednnunet.federation.wire.extras import join, split
from fednnunet.training.amplitude import mean_amplitude
from fednnunet.training.batches import Batch
from fednnunet.training.initial import initial_tensors
from fednnunet.training.local_rule import RoundContext
from tests.contracts.helpers import an_invite, merged
from tests.federation.site_fakes import CONFIGURATION, ITERATIONS, ROUNDS, a_trainer
from tests.training.fakes import small_plan

INITIAL = initial_tensors(small_plan()[0], CONFIGURATION, seed=0)


def a_site(batches, *, cases=3, min_cases=3):
    asked = []

    def each_case(count):
        asked.append(count)
        return iter(batches)

    state = SimpleNamespace(memory={})
    return SimpleNamespace(
        state=state, each_case=each_case, cases=cases, min_cases=min_cases
    ), asked


def a_stack(seed):
    image = torch.randn(4, 1, 8, 8, 8, generator=torch.Generator().manual_seed(seed))
    return Batch(image, torch.zeros(4, 8, 8, 8, dtype=torch.int16))


def context(**bank):
    return RoundContext(extras={f"amplitude/{site}": tensor for site, tensor in bank.items()})


def test_a_site_sends_the_mean_over_its_cases_and_measures_once():
    batches = [a_stack(0), a_stack(1), a_stack(2)]
    site, asked = a_site(batches)
    extras = MeanAmplitude(waves=2, patches=4)
    first, second = extras.reply(site), extras.reply(site)
    assert asked == [4]
    assert first.keys() == second.keys() == {"amplitude"}
    assert torch.equal(first["amplitude"], mean_amplitude([b.image for b in batches], 2))
    assert torch.equal(first["amplitude"], second["amplitude"])
    like = extras.like(INITIAL, INITIAL.keys())
    assert like["amplitude"].shape == first["amplitude"].shape


def test_a_site_with_fewer_cases_than_its_policy_asks_for_sends_nothing():
    site, asked = a_site([a_stack(0)], cases=2)
    with pytest.raises(RefusalError, match="2 cases are fewer than the 3"):
        MeanAmplitude(waves=2, patches=4).reply(site)
    assert not asked


def test_the_sites_own_policy_reaches_the_extras(tmp_path):
    trainer = a_trainer(tmp_path, "one", policy=SitePolicy(min_cases=4, min_bin_count=1))
    with pytest.raises(RefusalError, match="3 cases are fewer than the 4"):
        trainer.train(an_invite("feddg", INITIAL, 0))


def test_a_site_borrows_from_the_others_only():
    own, other, third = (torch.full((1, 5, 5, 3), float(value)) for value in (1, 2, 3))
    assert BorrowAmplitude(chance=0.5)({}, RoundContext()) is None
    assert BorrowAmplitude(chance=0.5)({"amplitude": own}, context(a=own)) is None
    exchange = BorrowAmplitude(chance=0.3)({"amplitude": own}, context(c=third, a=own, b=other))
    assert [float(t.max()) for t in exchange.amplitudes] == [2, 3]
    assert exchange.chance == 0.3


def test_the_bank_keeps_sites_that_sat_a_round_out():
    def reply(site, value):
        extras = {"amplitude": torch.tensor(value)}
        return Reply(site=site, tensors={"w": torch.tensor(1.0)}, cases=1, loss=0, extras=extras)

    start = State(round=0, shared={"w": torch.tensor(0.0)})
    state = merged(FedDG().build().merge, start, [reply("b", 2.0), reply("a", 1.0)])
    state = merged(FedDG().build().merge, state, [reply("b", 4.0)])
    assert {name: float(t) for name, t in state.extras.items()} == {
        "amplitude/a": 1.0,
        "amplitude/b": 4.0,
    }
    assert state.shared["w"] == 1


def two_rounds(folder, settings, bank):
    """Two rounds of one site; `bank` makes what it receives in the second from what it sent."""
    training = Training(
        method=settings, rounds=ROUNDS, iterations_per_round=ITERATIONS, device="cpu"
    )
    trainer, method = a_trainer(folder, "one", training=training), label(settings)
    tensors, extras = split(trainer.train(an_invite(method, INITIAL, 0)).tensors)
    return split(trainer.train(an_invite(method, join(tensors, bank(extras)), 1)).tensors)[0]


def test_one_site_alone_trains_as_without_an_exchange(tmp_path):
    alone = two_rounds(tmp_path / "a", FedDG(), lambda sent: {"amplitude/one": sent["amplitude"]})
    plain = two_rounds(tmp_path / "b", FedAvg(), lambda sent: {})
    assert all(torch.equal(tensor, plain[name]) for name, tensor in alone.items())


def test_another_sites_amplitude_changes_what_is_learned_and_always_alike(tmp_path):
    def bank(sent):
        own = sent["amplitude"]
        return {"amplitude/one": own, "amplitude/two": 3 * own + 5}

    always = FedDG(chance=1.0)
    first, again = (two_rounds(tmp_path / part, always, bank) for part in "ab")
    plain = two_rounds(tmp_path / "c", FedAvg(), lambda sent: {})
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())
    assert any(not torch.equal(tensor, plain[name]) for name, tensor in first.items())
