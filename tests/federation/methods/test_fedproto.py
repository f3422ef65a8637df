"""FedProto's class means against loops over voxels, the term, and the coordinator's mean."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fednnunet.federation.methods.fedproto import (
    ClassMeans,
    FedProto,
    NearPrototypes,
    class_sums,
)
from fednnunet.federation.methods.merge import Reply, State
from fednnunet.federation.methods.method import TrainedSite
from fednnunet.supervision import UNKNOWN, Supervision
from fednnunet.training.batches import Batch
from fednnunet.training.local_rule import ForwardPass, RoundContext
from fednnunet.training.targets import make_targets
from tests.contracts.helpers import merged
from tests.training.fakes import CPU, small_task
from tests.training.steps import batch, state

FEATURES = 5


def samples(seed=0):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(2, FEATURES, 4, 3, 2, generator=generator)
    labels = torch.randint(0, 3, (2, 4, 3, 2), generator=generator, dtype=torch.int16)
    return features, labels


def a_pass(features, labels, extras, targets=None):
    return ForwardPass(
        network=torch.nn.Identity(),
        image=features,
        labels=labels,
        logits=features,
        features=features,
        targets=targets or make_targets(small_task()),
        context=RoundContext(extras=extras),
    )


def prototypes(means, seen=(1.0, 1.0, 1.0)):
    return {"prototypes/mean": means, "prototypes/seen": torch.tensor(seen)}


def test_sums_are_those_of_a_loop_over_voxels():
    features, labels = samples()
    sums, voxels = class_sums(features, labels, make_targets(small_task()), 3)
    for sample in range(2):
        for value in range(3):
            there = labels[sample] == value
            want = features[sample][:, there].sum(1)
            torch.testing.assert_close(sums[sample, value], want, rtol=1e-4, atol=1e-5)
            assert voxels[sample, value] == there.sum()


def test_regions_have_a_row_each_and_may_overlap():
    features, labels = samples()
    targets = make_targets(small_task(regions={"whole": (1, 2), "core": (2,)}))
    sums, voxels = class_sums(features, labels, targets, 2)
    whole = features.movedim(1, -1)[labels > 0].sum(0)
    torch.testing.assert_close(sums[:, 0].sum(0), whole, rtol=1e-4, atol=1e-5)
    assert voxels.sum(0).tolist() == [(labels > 0).sum(), (labels == 2).sum()]


def test_a_background_that_hides_other_labels_is_not_sent():
    features, labels = samples()
    labels[labels == 1] = 0
    _, voxels = class_sums(
        features, labels, make_targets(small_task(), Supervision(kind="partial", annotated=(2,))), 3
    )
    assert voxels.sum(0).tolist() == [0, 0, (labels == 2).sum()]


def test_ignored_voxels_do_not_count():
    features, labels = samples()
    labels[0] = 3
    _, voxels = class_sums(features, labels, make_targets(small_task(ignore=3)), 3)
    assert voxels[0].tolist() == [0, 0, 0] and voxels[1].sum() == labels[1].numel()


def test_the_term_is_the_mean_squared_distance_of_class_means():
    features, labels = samples()
    received = torch.randn(3, FEATURES)
    got = NearPrototypes(weight=0.5)(a_pass(features, labels, prototypes(received)))
    distances = [
        (patch[:, labels[i] == value].mean(1) - received[value]).square().mean()
        for i, patch in enumerate(features)
        for value in range(3)
    ]
    torch.testing.assert_close(got, 0.5 * torch.stack(distances).mean())


def test_the_term_is_zero_at_the_prototypes_and_before_there_are_any():
    features, labels = samples()
    features, labels = features[:1], labels[:1]
    sums, voxels = class_sums(features, labels, make_targets(small_task()), 3)
    own = sums[0] / voxels[0][:, None]
    term = NearPrototypes(weight=1.0)
    assert float(term(a_pass(features, labels, prototypes(own)))) == pytest.approx(0, abs=1e-10)
    assert float(term(a_pass(features, labels, {}))) == 0
    unseen = prototypes(own + 1, seen=(0.0, 0.0, 0.0))
    assert float(term(a_pass(features, labels, unseen))) == 0


def test_a_class_that_is_not_in_the_patch_does_not_pull():
    features, labels = samples()
    labels[labels == 2] = 1
    received = torch.zeros(3, FEATURES)
    received[2] = 1e6
    assert float(NearPrototypes(weight=1.0)(a_pass(features, labels, prototypes(received)))) < 10


def trained(cases, min_cases=1):
    """A site of the given cases, that sends classes of `min_cases` cases or more."""
    return TrainedSite(
        state=state(),
        context=RoundContext(),
        each_case=lambda patches: iter(cases),
        cases=len(cases),
        min_cases=min_cases,
        task=small_task(),
        execution=CPU,
    )


def test_a_site_sends_the_mean_over_all_its_patches():
    site = trained([batch(), batch(2)])
    reply = ClassMeans(patches=2, cases=32).reply(site)
    network = site.state.network
    weight = network.heads[0].weight.flatten(1)
    network.eval()
    with torch.no_grad():
        logits = torch.cat([network(batch().image), network(batch(2).image)])
    labels = torch.cat([batch().labels, batch(2).labels])
    for value in range(3):
        mean = logits.movedim(1, -1)[labels == value].mean(0)  # the head is affine
        sent = weight @ reply["prototypes/mean"][value] + network.heads[0].bias
        torch.testing.assert_close(sent.detach(), mean, rtol=1e-3, atol=1e-4)
    assert reply["prototypes/seen"].tolist() == [1, 1, 1]


def test_a_class_in_too_few_cases_is_not_sent():
    whole = batch(2)
    without = Batch(whole.image, torch.where(whole.labels == 2, 0, whole.labels))
    reply = ClassMeans(patches=2, cases=32).reply(trained([whole, whole, without], min_cases=3))
    assert reply["prototypes/seen"].tolist() == [1, 1, 0]
    assert not reply["prototypes/mean"][2].any()


def test_a_reply_is_like_the_template():
    site = trained([batch()])
    like = ClassMeans(patches=2, cases=32).like(site.state.network.state_dict(), ())
    reply = ClassMeans(patches=2, cases=32).reply(site)
    assert {n: t.shape for n, t in like.items()} == {n: t.shape for n, t in reply.items()}


def a_reply(site, value, seen, cases):
    means = torch.full((2, 3), value) * torch.tensor(seen)[:, None]
    extras = {"prototypes/mean": means, "prototypes/seen": torch.tensor(seen)}
    return Reply(site=site, tensors={"w": torch.zeros(1)}, extras=extras, cases=cases, loss=0.0)


def test_the_coordinator_averages_over_the_sites_that_saw_a_class():
    before = State(round=0, shared={"w": torch.zeros(1)})
    replies = [a_reply("a", 1.0, [1.0, 1.0], 3), a_reply("b", 5.0, [1.0, 0.0], 1)]
    after = merged(FedProto().build().merge, before, replies)
    assert after.extras["prototypes/mean"][:, 0].tolist() == [2.0, 1.0]
    assert after.extras["prototypes/seen"].tolist() == [1, 1]


def test_a_class_that_nobody_saw_keeps_its_prototype():
    state = State(round=0, shared={"w": torch.zeros(1)})
    state = merged(FedProto().build().merge, state, [a_reply("a", 4.0, [1.0, 1.0], 3)])
    state = merged(FedProto().build().merge, state, [a_reply("a", 6.0, [1.0, 0.0], 3)])
    assert state.extras["prototypes/mean"][:, 0].tolist() == [6.0, 4.0]
    never = State(round=0, shared={"w": torch.zeros(1)})
    never = merged(FedProto().build().merge, never, [a_reply("a", 6.0, [1.0, 0.0], 3)])
    assert never.extras["prototypes/seen"].tolist() == [1, 0]


@pytest.mark.parametrize("kind", ["box", "none"])
def test_cases_without_drawn_labels_have_no_prototypes(kind):
    drawn, other = batch(), batch(2)
    without = replace(other, supervision=(Supervision(kind=kind),) * 2)
    means = ClassMeans(patches=2, cases=1)
    reply, alone = means.reply(trained([without, drawn])), means.reply(trained([drawn]))
    assert all(torch.equal(reply[name], alone[name]) for name in alone)
    nothing = means.reply(trained([without]))
    assert not any(tensor.any() for tensor in nothing.values())
    features, labels = samples()
    targets = make_targets(small_task(), Supervision(kind=kind))
    received = prototypes(torch.randn(3, FEATURES))
    assert float(NearPrototypes(weight=1.0)(a_pass(features, labels, received, targets))) == 0


def test_voxels_of_which_nothing_is_known_have_no_prototype():
    features, labels = samples()
    known = class_sums(features, labels, make_targets(small_task()), 3)
    scribble = make_targets(small_task(), Supervision(kind="scribble"))
    hidden = labels.masked_fill(labels == 1, UNKNOWN)
    sums, voxels = class_sums(features, hidden, scribble, 3)
    assert not sums[:, 1].any() and not voxels[:, 1].any()
    assert torch.equal(sums[:, 2], known[0][:, 2]) and torch.equal(voxels[:, 0], known[1][:, 0])
