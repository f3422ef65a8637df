"""A site whose cases are prepared: its seeds, its first state and its fixed patches."""

from __future__ import annotations

from dataclasses import replace

import torch

from fednnunet.federation.methods.catalogue import METHODS
from fednnunet.federation.site.policy import SitePolicy
from fednnunet.federation.site.prepared import site_seed
from fednnunet.federation.training_spec import Training
from fednnunet.labels.settings import PseudoLabels
from fednnunet.supervision import SiteSupervision, Supervision
from fednnunet.training.imbalance import Imbalance, effective_number_weights
from fednnunet.training.recipe import RECIPES
from tests.contracts.helpers import first_tensors
from tests.federation.site_fakes import a_site
from tests.training.fakes import blobs


def same(one, other):
    return len(one) == len(other) and all(
        torch.equal(a.image, b.image) and torch.equal(a.labels, b.labels)
        for a, b in zip(one, other, strict=True)
    )


def test_seeds_differ_by_site_and_seed_and_never_change():
    assert site_seed(0, "one") == 239075468971784  # printf 0/one | sha256sum
    assert len({site_seed(seed, name) for seed in (0, 1) for name in ("one", "two")}) == 4
    assert 0 <= site_seed(0, "one") < 2**48


def test_all_sites_begin_with_the_federations_weights(tmp_path):
    for name in ("one", "other"):
        tensors = a_site(tmp_path, name).new_state().network.state_dict()
        assert all(torch.equal(tensors[n], t) for n, t in first_tensors().items())


def test_a_stream_of_chance_is_the_sites_unless_another_is_named(tmp_path):
    one, other = a_site(tmp_path, "one"), a_site(tmp_path, "other")
    assert one.new_state().seed == site_seed(0, "one") != other.new_state().seed
    assert one.new_state(stream="x").seed == other.new_state(stream="x").seed


def test_every_case_gives_the_same_patches_each_time(tmp_path):
    site = a_site(tmp_path, "one")
    found = list(site.patches_of_each_case(2))
    assert [len(batch.image) for batch in found] == [2] * len(site.cases)
    assert same(found, list(site.patches_of_each_case(2)))
    backwards = replace(site, cases=site.cases[::-1])
    assert same(found, list(backwards.patches_of_each_case(2)))


def test_held_out_patches_come_one_by_one_and_only_of_enough_cases(tmp_path):
    cases = blobs(2, seed=9)
    site = a_site(tmp_path, "one", held_out=cases, held_out_cases=cases.names)
    found = list(site.held_out_patches())
    assert [len(batch.image) for batch in found] == [1] * 8
    assert same(found, list(site.held_out_patches()))
    strict = replace(site, policy=SitePolicy(min_scored_cases=3))
    assert list(strict.held_out_patches()) == []
    assert list(a_site(tmp_path, "one").held_out_patches()) == []


def test_a_cpu_takes_the_batch_whole_whatever_its_memory(tmp_path):
    execution = a_site(tmp_path, "one", memory_gib=1e-9).execution()
    assert execution.torch_device.type == "cpu" and execution.micro_batch is None


def test_labels_are_completed_where_the_sites_own_file_says_so_and_some_are_unknown(tmp_path):
    none = SiteSupervision(default=Supervision(kind="none"))
    training = Training(pseudo_labels=PseudoLabels(weight=0.5))
    site = a_site(tmp_path, "a", training=training, supervision=none)
    assert site.completion is not None and site.completion.settings.weight == 0.5
    assert a_site(tmp_path, "a", training=training).completion is None
    assert a_site(tmp_path, "a", supervision=none).completion is None


def test_the_learning_rate_of_joint_rounds_may_follow_the_number_of_sites(tmp_path):
    site = a_site(tmp_path, "north", sites=4)
    rate = site.recipe.learning_rate
    assert site.joint_recipe(METHODS["fedease"]).learning_rate == 2 * rate
    assert site.joint_recipe(METHODS["fedavg"]).learning_rate == rate
    sgd = replace(site, training=replace(site.training, recipe="nnunet"))
    assert sgd.joint_recipe(METHODS["fedease"]) == sgd.recipe


def test_the_recipe_has_what_is_done_for_rare_classes(tmp_path):
    plain = a_site(tmp_path, "one")
    assert plain.recipe == RECIPES["fast"]
    training = replace(plain.training, imbalance=Imbalance(effective_number=0.5))
    plan = replace(plain.plan, cases=2, label_cases={"outer": 2, "inner": 1})
    balanced = replace(plain, plan=plan, training=training).recipe
    assert balanced.balance.weights == effective_number_weights([2, 2, 1], 0.5)
    assert replace(balanced, balance=plain.recipe.balance) == plain.recipe
