"""The models that a site evaluates: as received, its own, or the best so far."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fednnunet.errors import InputError
from fednnunet.evaluation.scores import MetricSum, SiteScores, TargetSums
from fednnunet.federation.methods.catalogue import METHODS
from fednnunet.federation.methods.method import TrainedSite
from fednnunet.federation.site.models import SiteModels, load_part, network_tensors, own_model
from fednnunet.federation.wire.messages import EvaluateInvite
from fednnunet.inference.best_bundle import FOLDER, best_bundle
from fednnunet.inference.bundle import read_bundle, write_bundle
from fednnunet.inference.card import read_card
from fednnunet.training.state import save
from tests.contracts.helpers import first_tensors
from tests.federation.site_fakes import a_site
from tests.training.steps import state


class Doubled:
    """A personal model that is the network's tensors and what lies in the memory, added up."""

    def update(self, site: TrainedSite) -> None:
        """Nothing."""

    def model(self, tensors, memory):
        return {name: tensor + memory["offset"] for name, tensor in tensors.items()}


def an_invite(**changes):
    values = {"run": "", "method": "fedbn", "round": 1, "personal": False, "tensors": {}}
    return EvaluateInvite(**{**values, **changes})


def test_a_part_is_loaded_and_the_rest_stays():
    network = state().network
    before = network_tensors(network)
    name = "heads.0.weight"
    load_part(network, {name: torch.full_like(before[name], 7.0)})
    after = network_tensors(network)
    assert (after.pop(name) == 7.0).all()
    assert all(torch.equal(after[n], before[n]) for n in after)


def test_a_tensor_of_another_network_is_refused():
    with pytest.raises(InputError, match=r"1 tensors do not belong .* heads\.9\.weight") as caught:
        load_part(state().network, {"heads.9.weight": torch.zeros(1)})
    assert caught.value.advice == "same_plan"


def test_tensors_of_a_network_are_copies():
    network = state().network
    copies = network_tensors(network)
    with torch.no_grad():
        next(network.parameters()).add_(1.0)
    name = next(name for name, _ in network.named_parameters())
    assert not torch.equal(copies[name], network.state_dict()[name])


def test_the_own_model_is_the_network_or_what_the_method_makes_of_it():
    here = state()
    here.memory = {"offset": torch.tensor(0.5)}
    plain = own_model(None, here)
    assert all(torch.equal(plain[n], t) for n, t in here.network.state_dict().items())
    assert own_model(METHODS["fedavg"], here).keys() == plain.keys()
    made = own_model(replace(METHODS["fedavg"], personal_model=Doubled()), here)
    assert all(torch.equal(made[n], t + 0.5) for n, t in plain.items())


def test_a_received_model_is_written_as_it_is(tmp_path):
    site, tensors = a_site(tmp_path, "one"), first_tensors()
    bundle = SiteModels(site).bundle(an_invite(tensors=tensors))
    assert bundle.weights.keys() == tensors.keys()
    assert all(torch.equal(bundle.weights[n], t) for n, t in tensors.items())
    assert bundle.note == {"method": "fedbn", "rounds": "1", "site": "one"}
    assert read_bundle(site.base / "global").digest == bundle.digest


def test_scores_of_the_sites_own_cases_go_into_the_card(tmp_path):
    site = a_site(tmp_path, "one")
    models, invite = SiteModels(site), an_invite(tensors=first_tensors())
    models.bundle(invite)
    half = MetricSum.of(0.5)
    sums = {name: TargetSums(dice=half + half) for name in site.plan.task.targets}
    models.keep_scores(invite, SiteScores(cases=2, targets=sums))
    card = read_card(site.base / "global")
    assert (card.scored.cases, card.scored.sites, card.scored.scores[0].mean) == (2, 1, 0.5)
    assert (card.sites, card.site_names) == (None, ())


def test_a_personal_model_has_the_received_part_and_the_sites_own_rest(tmp_path):
    site = a_site(tmp_path, "one")
    own = site.new_state()
    with torch.no_grad():
        for parameter in own.network.parameters():
            parameter.add_(1.0)
    save(own, site.states("").folder / "round_0001")
    received = {n: t - 1.0 for n, t in METHODS["fedbn"].shared(first_tensors()).items()}
    trained = own.network.state_dict()
    found = SiteModels(site).bundle(an_invite(personal=True, tensors=received)).weights
    private = METHODS["fedbn"].private(trained)
    assert private and all(torch.equal(found[n], trained[n]) for n in private)
    assert all(torch.equal(found[n], t) for n, t in received.items())


def test_the_best_personal_model_is_kept_and_found_again(tmp_path):
    small = a_site(tmp_path, "one")
    site = replace(small, training=replace(small.training, validate_every=1))
    models = SiteModels(site)
    for number, dice in ((1, 0.7), (2, 0.5)):
        write_personal(site, number)
        models.keep_best(an_invite(round=number, personal=True), dice)
    found = best_bundle(site.base / FOLDER)
    assert found is not None and found[0] == 1
    best = an_invite(round=2, personal=True, best=True)
    assert models.reached(best) == 1 and models.reached(replace(best, best=False)) == 2
    weights = models.bundle(best).weights
    assert all((tensor == 1).all() for tensor in weights.values())


def write_personal(site, number):
    """The personal model after a round, all of whose tensors are the round's number."""
    weights = {n: torch.full_like(t, number) for n, t in first_tensors().items()}
    write_bundle(
        site.base / "personal",
        plan=site.plan,
        configuration=site.configuration_name,
        weights=weights,
    )


def test_without_validation_no_best_model_is_kept(tmp_path):
    site = a_site(tmp_path, "one")
    write_personal(site, 1)
    SiteModels(site).keep_best(an_invite(personal=True), 0.9)
    assert best_bundle(site.base / FOLDER) is None
