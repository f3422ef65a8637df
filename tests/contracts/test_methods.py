"""What every row of the table of methods keeps to. A new method gets these tests for nothing."""

from __future__ import annotations

import weakref
from dataclasses import replace
from itertools import permutations

import pytest
import torch

from fednnunet.errors import ReplyError
from fednnunet.federation.coordinator.history import RoundRecord, load_last, save_round
from fednnunet.federation.methods.catalogue import METHODS
from fednnunet.federation.methods.mean import MeanBy, by_cases
from fednnunet.federation.methods.merge import Reply, State
from fednnunet.federation.methods.method import Method
from fednnunet.network.roles import is_norm, role
from tests.contracts.helpers import merged

NAMES = (
    "encoder.0.blocks.0.conv.weight",
    "encoder.0.blocks.0.norm.weight",
    "encoder.0.blocks.0.norm.running_var",
    "decoder.0.up.weight",
    "decoder.0.blocks.0.norm.bias",
    "heads.0.weight",
)
COUNTER = "encoder.0.blocks.0.norm.num_batches_tracked"
PRIVATE = {
    "fedbn": is_norm,
    "head": lambda name: role(name) == "head",
    "fedbn_head": lambda name: is_norm(name) or role(name) == "head",
    "head_alternating": lambda name: role(name) == "head",
    "fedease": lambda name: is_norm(name) or role(name) == "head",
    "fedease_all": lambda name: is_norm(name) or role(name) == "head",
    "fedease_firm": lambda name: is_norm(name) or role(name) == "head",
    "fedprox_bn_head": lambda name: is_norm(name) or role(name) == "head",
    "fedgkd_bn_head": lambda name: is_norm(name) or role(name) == "head",
    "scaffold_bn_head": lambda name: is_norm(name) or role(name) == "head",
    "fedsam_bn_head": lambda name: is_norm(name) or role(name) == "head",
    "decoder": lambda name: role(name) != "encoder",
    "local": lambda name: True,
}

every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
KEEPING = {name: method for name, method in METHODS.items() if method.merge.keeps_equal_sites}
keeping_equal_sites = pytest.mark.parametrize("method", KEEPING.values(), ids=KEEPING)


def tensors(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    found = {name: torch.rand(3, 5, generator=generator) for name in NAMES}
    return found | {COUNTER: torch.tensor(seed)}


def start(method: Method) -> State:
    return State(round=0, shared=method.shared(tensors(0)))


def some_extras(method: Method, *, seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    like = method.extras_like(tensors(0))
    return {n: torch.rand(t.shape, generator=generator).to(t.dtype) for n, t in like.items()}


def replies(method: Method, *, number: int = 0, count: int = 4) -> list[Reply]:
    """Replies that differ in tensors, cases and loss, other ones each round."""
    return [
        Reply(
            site=f"site_{i}",
            tensors=method.shared(tensors(1 + i + 10 * number)),
            extras=some_extras(method, seed=i + 10 * number),
            cases=3 + 7 * i,
            loss=-0.7 + 0.37 * i + 0.1 * number,
            iterations=2 + i,
        )
        for i in range(count)
    ]


def record(number: int) -> RoundRecord:
    return RoundRecord(key="k", round=number, phase="joint", shift=0.0, sites={}, refused={})


def assert_equal(one: State, other: State) -> None:
    assert one.round == other.round
    assert one.for_site.keys() == other.for_site.keys()
    pairs = [(getattr(one, part), getattr(other, part)) for part in ("shared", "extras", "memory")]
    pairs += [(tensors, other.for_site[site]) for site, tensors in one.for_site.items()]
    for left, right in pairs:
        assert left.keys() == right.keys()
        for name, tensor in left.items():
            assert tensor.dtype == right[name].dtype, name
            assert torch.equal(tensor, right[name]), name


def bare(state: State) -> State:
    """The state without what the coordinator and the sites keep beside the weights."""
    return replace(state, extras={}, memory={}, for_site={})


@every_method
def test_the_order_of_replies_does_not_matter_to_the_last_bit(method):
    first, second = replies(method), replies(method, number=1)
    state = merged(method.merge, merged(method.merge, start(method), first), second)
    for order in permutations(range(len(first))):
        one = merged(method.merge, start(method), [first[i] for i in order])
        assert_equal(merged(method.merge, one, [second[i] for i in order]), state)


@every_method
def test_a_merge_counts_the_round_and_keeps_names_shapes_and_kinds(method):
    before = start(method)
    after = merged(method.merge, before, replies(method))
    assert after.round == 1
    assert after.shared.keys() == before.shared.keys()
    for name, tensor in before.shared.items():
        assert (after.shared[name].shape, after.shared[name].dtype) == (tensor.shape, tensor.dtype)
        assert bool(torch.isfinite(after.shared[name]).all())


@every_method
def test_a_merge_leaves_the_state_that_it_was_given_as_it_was(method):
    state = merged(method.merge, start(method), replies(method))
    shared = {name: tensor.clone() for name, tensor in state.shared.items()}
    memory = {name: tensor.clone() for name, tensor in state.memory.items()}
    extras = {name: tensor.clone() for name, tensor in state.extras.items()}
    context = replies(method, number=1)
    merged(method.merge, state, context)
    assert_equal(state, replace(state, shared=shared, extras=extras, memory=memory))
    for reply, fresh in zip(context, replies(method, number=1), strict=True):
        assert all(torch.equal(t, fresh.tensors[name]) for name, t in reply.tensors.items())
        assert all(torch.equal(t, fresh.extras[name]) for name, t in reply.extras.items())


@keeping_equal_sites
def test_equal_sites_keep_what_they_sent(method):
    """The mean of equal replies is the reply, bit for bit."""
    sent = method.shared(tensors(9))
    equal = [replace(reply, tensors=sent) for reply in replies(method)]
    after = merged(method.merge, start(method), equal)
    assert_equal(bare(after), State(round=1, shared=sent))


@keeping_equal_sites
def test_one_site_alone_is_followed(method):
    alone = replies(method, count=1)
    after = merged(method.merge, start(method), alone)
    assert_equal(bare(after), State(round=1, shared=alone[0].tensors))


@every_method
def test_where_all_send_what_they_received_nothing_changes(method):
    """Also a server optimiser stays there, as long as it has no momentum."""
    state = start(method)
    equal = [replace(reply, tensors=state.shared) for reply in replies(method)]
    after = merged(method.merge, state, equal)
    assert_equal(bare(after), State(round=1, shared=state.shared))


@pytest.mark.parametrize("name", [n for n, m in METHODS.items() if m.merge.needs == "sum"])
def test_a_merge_that_needs_a_sum_keeps_no_reply(name):
    """Each reply is dropped as soon as it is added: nothing holds its tensors any more."""
    aggregation = METHODS[name].merge.start(start(METHODS[name]))
    for reply in replies(METHODS[name]):
        tensor = torch.rand(3, 5)
        held = weakref.ref(tensor)
        shared = {key: tensor if key == NAMES[0] else t for key, t in reply.tensors.items()}
        extras = {key: t.clone() for key, t in reply.extras.items()}
        also = [weakref.ref(t) for t in extras.values()]
        aggregation.add(replace(reply, tensors=shared, extras=extras))
        del tensor, shared, extras
        assert held() is None
        assert all(extra() is None for extra in also)


@every_method
def test_a_reply_that_cannot_be_summed_is_refused_and_changes_nothing(method):
    good = replies(method)
    aggregation = method.merge.start(start(method))
    if method.merge.needs == "sum" and start(method).shared:
        huge = {name: t * 2.0**40 for name, t in good[0].tensors.items() if t.is_floating_point()}
        with pytest.raises(ReplyError, match="too large") as caught:
            aggregation.add(replace(good[0], tensors={**good[0].tensors, **huge}))
        assert "site_0" in str(caught.value)
    for reply in good:
        aggregation.add(reply)
    assert_equal(aggregation.finish(), merged(method.merge, start(method), good))


@pytest.mark.parametrize("name", METHODS)
def test_private_tensors_are_never_shared(name):
    method, everything = METHODS[name], tensors(0)
    shared, private = method.shared(everything), method.private(everything)
    assert shared.keys() | private.keys() == everything.keys()
    assert not shared.keys() & private.keys()
    is_private = PRIVATE.get(name, lambda tensor: False)
    assert private.keys() == {tensor for tensor in everything if is_private(tensor)}


@every_method
def test_two_rounds_a_restart_and_two_rounds_equal_four(method, tmp_path):
    whole = start(method)
    for number in range(4):
        whole = merged(method.merge, whole, replies(method, number=number))
    state = start(method)
    for number in range(4):
        state = merged(method.merge, state, replies(method, number=number))
        save_round(tmp_path, state, record(number + 1))
        loaded, _ = load_last(tmp_path, key="k")
        assert loaded is not None
        assert_equal(loaded, state)
        state = loaded
    assert_equal(state, whole)


def test_uniform_and_by_cases_differ_only_in_the_weights():
    sent = [Reply(site="a", tensors={"w": torch.tensor(0.0)}, cases=3, loss=1.0)]
    sent += [Reply(site="b", tensors={"w": torch.tensor(4.0)}, cases=1, loss=1.0)]
    state = State(round=0, shared={"w": torch.tensor(7.0)})
    assert merged(MeanBy(by_cases), state, sent).shared["w"] == 1
    assert merged(METHODS["fedavg"].merge, state, sent).shared["w"] == 1
    assert merged(METHODS["fedavg_uniform"].merge, state, sent).shared["w"] == 2
