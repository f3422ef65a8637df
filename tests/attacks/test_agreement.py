"""A coordinator that asks for more than the site's federation file says, by valid messages."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from fednnunet.federation.site.policy import FILE_NAME
from fednnunet.federation.wire.extras import join
from fednnunet.federation.wire.messages import (
    EvaluateInvite,
    EvaluateReply,
    ModelInvite,
    ModelReply,
    ProbeInvite,
    ProbeReply,
    TrainReply,
    pack,
    unpack,
)
from tests.attacks.victim import AGREED, Victim, a_victim, zeros

ALL_ROUNDS = 4


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a site that has prepared its cases, for the tests to copy."""
    root = tmp_path_factory.mktemp("prepared")
    a_victim(root).prepare()
    return root


@pytest.fixture
def victim(prepared: Path, tmp_path: Path) -> Victim:
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    return a_victim(tmp_path)


def train(victim: Victim, rounds: int) -> None:
    for number in range(rounds):
        assert isinstance(victim.ask(victim.invite(number)), TrainReply), number


def state_after(victim: Victim, rounds: int) -> dict[str, torch.Tensor]:
    return load_file(victim.base / "state" / f"round_{rounds:04d}" / "state.safetensors")


def test_what_was_agreed_is_answered(victim):
    """So that the refusals below mean something."""
    train(victim, ALL_ROUNDS)


def test_thirty_rounds_where_the_file_says_two(victim):
    train(victim, ALL_ROUNDS)
    honest = victim.invite(0)
    for number in range(ALL_ROUNDS, 30):
        assert victim.refuses(replace(honest, round=number, resume_round=0)) == "as_agreed"


@pytest.mark.parametrize("number", [-7, -1, 10**9, 2**70])
def test_a_round_that_no_message_can_hold(victim, number):
    victim.cannot_read(victim.invite(0), round=number)
    victim.cannot_read(an_evaluation(victim), round=number)


def test_a_round_that_does_not_exist(victim):
    assert victim.refuses(victim.invite(0, round=10**6)) == "as_agreed"


@pytest.mark.parametrize("lie", [{"iterations": -1}, {"resume_round": -1}, {"resume_round": 10**9}])
def test_numbers_that_no_message_can_hold(victim, lie):
    victim.cannot_read(victim.invite(0), **lie)


@pytest.mark.parametrize(
    "lie",
    [
        {"iterations": 200},
        {"iterations": 0},
        {"schedule_start": 3},
        {"schedule_length": 10**6},
        {"schedule_length": 1},
        {"phase": "personal"},
        {"phase": "public"},
        {"resume_round": 1},
        {"resume_round": 10**6},
    ],
    ids=str,
)
def test_another_training_than_agreed(victim, lie):
    assert victim.refuses(victim.invite(0, **lie)) == "as_agreed"


def test_the_same_round_with_other_weights(victim):
    """Training again and again from one state would tell what the cases do to any weights."""
    once = victim.site.answer(pack(victim.invite(0)))
    assert victim.refuses(victim.invite(0, tensors=zeros(victim.shared))) == "rounds_in_order"
    assert victim.site.answer(pack(victim.invite(0))) == once


def test_a_repeated_invite_gets_the_bytes_of_before_also_after_a_restart(victim, tmp_path):
    train(victim, 1)
    once = victim.site.answer(pack(victim.invite(1)))
    assert isinstance(unpack(once, sender="north"), TrainReply)
    again = a_victim(tmp_path)
    assert again.site.answer(pack(victim.invite(1))) == once
    assert again.files == victim.files


def test_an_earlier_round(victim):
    train(victim, 2)
    assert victim.refuses(victim.invite(0)) == "rounds_in_order"
    other = victim.invite(0, tensors=zeros(victim.shared))
    assert victim.refuses(other) == "rounds_in_order"


def test_going_on_from_an_earlier_state_than_before(victim):
    train(victim, 2)
    lie = victim.invite(2, resume_round=0)
    assert victim.refuses(lie) == "as_agreed"


def test_a_site_that_missed_a_round_goes_on(victim):
    """The coordinator did not count the second round: the third goes on from the first."""
    train(victim, 2)
    assert isinstance(victim.ask(victim.invite(2, resume_round=1)), TrainReply)


def test_private_norm_layers_are_overwritten(victim):
    train(victim, 1)
    before = {n: t for n, t in state_after(victim, 1).items() if ".norm." in n}
    assert before
    lie = victim.invite(1, tensors=zeros(victim.tensors))
    assert victim.refuses(lie) == "as_agreed"
    assert isinstance(victim.ask(victim.invite(1)), TrainReply)
    begun = state_after(victim, 1)
    assert all(torch.equal(tensor, begun[name]) for name, tensor in before.items())


def test_states_are_wiped_by_a_far_round(victim):
    train(victim, 2)
    for lie in ({"round": 998}, {"round": 3, "resume_round": 999}, {"resume_round": 999}):
        victim.refuses(victim.invite(2, **lie))
    assert (victim.base / "state" / "round_0002").is_dir()


@pytest.mark.parametrize("rounds", [0, 1, 2, 3])
def test_a_public_round_of_300_iterations_trains_at_this_site_alone(victim, rounds):
    train(victim, rounds)
    public = victim.invite(3)
    for lie in (
        replace(public, iterations=300, schedule_length=300),
        replace(public, round=rounds, iterations=300, schedule_length=300),
        replace(public, round=rounds, iterations=300),
    ):
        assert victim.refuses(lie) == "as_agreed"


def test_a_joint_round_of_no_iterations_brings_the_personal_model_home(victim):
    train(victim, 3)
    for lie in (
        victim.invite(0, round=3, resume_round=3, iterations=0),
        victim.invite(1, round=3, resume_round=3),
        victim.invite(1, resume_round=3, iterations=0),
        victim.invite(1, resume_round=1),
    ):
        assert victim.refuses(lie) in ("as_agreed", "rounds_in_order")


def spoilt(tensors: dict[str, torch.Tensor], how: str) -> dict[str, torch.Tensor]:
    name = next(iter(tensors))
    tensor = tensors[name]
    values = {"inf": float("inf"), "nan": float("nan"), "1e30": 1e30, "-1e7": -1e7}
    if how in values:
        changed = tensor.clone()
        changed.view(-1)[0] = values[how]
        return tensors | {name: changed}
    return {
        "shape": tensors | {name: tensor[None]},
        "dtype": tensors | {name: tensor.double()},
        "missing": {n: t for n, t in tensors.items() if n != name},
        "unknown": tensors | {"encoder.9.blocks.0.conv.weight": tensor.clone()},
        "private": tensors | {"encoder.0.blocks.0.norm.weight": torch.ones(4)},
        "an extra": join(tensors, {"control/" + name: tensor.clone()}),
        "nothing": {},
    }[how]


SPOILT = (
    "inf", "nan", "1e30", "-1e7", "shape", "dtype", "missing", "unknown", "private", "an extra",
    "nothing",
)  # fmt: skip


@pytest.mark.parametrize("how", SPOILT)
def test_other_tensors_than_the_method_shares(victim, how):
    assert victim.refuses(victim.invite(0, tensors=spoilt(victim.shared, how))) == "as_agreed"


@pytest.mark.parametrize(
    ("method", "extras", "agreed"),
    [
        ("scaffold", lambda t: {f"control/{n}": v for n, v in t.items()}, True),
        ("scaffold", lambda t: {f"control/{n}": v for n, v in list(t.items())[:3]}, False),
        ("scaffold", lambda t: {f"control/{n}": v.double() for n, v in t.items()}, False),
        ("scaffold", lambda t: {f"control/{n}": v + 1e30 for n, v in t.items()}, False),
        ("scaffold", lambda t: {"amplitude/south": torch.ones(1)}, False),
        ("feddg", lambda t: {"amplitude/south": torch.ones(1, 5, 5, 3)}, True),
        ("feddg", lambda t: {"amplitude/nowhere": torch.ones(1, 5, 5, 3)}, False),
        ("feddg", lambda t: {"amplitude/south": torch.ones(1, 9, 9, 9)}, False),
        ("fedproto", lambda t: {"prototypes/mean": torch.ones(3, 4)}, False),
        ("qfedavg_dice", lambda t: {"dice_loss": torch.ones(1, dtype=torch.float64)}, False),
    ],
)
def test_extras_of_other_names_or_shapes(tmp_path, method, extras, agreed):
    a_victim(tmp_path)
    (tmp_path / "north" / FILE_NAME).write_text("min_cases = 2\nmin_bin_count = 1\n")
    victim = a_victim(tmp_path, method=method).prepare()
    train(victim, 1)
    found = {name: tensor.clone() for name, tensor in extras(victim.shared).items()}
    invite = victim.invite(1, tensors=join(victim.shared, found))
    if agreed:
        assert isinstance(victim.ask(invite), TrainReply)
    else:
        assert victim.refuses(invite) == "as_agreed"


def test_weights_in_the_personal_phase_replace_the_sites_own(tmp_path):
    victim = a_victim(tmp_path, personal_rounds=2).prepare()
    train(victim, 3)
    assert victim.refuses(victim.invite(3)) == "as_agreed"
    assert isinstance(victim.ask(victim.invite(3, tensors={})), TrainReply)


def an_evaluation(victim: Victim, **changes: Any) -> EvaluateInvite:
    honest = EvaluateInvite(
        tensors=victim.tensors, run="", method="fedbn", round=ALL_ROUNDS, personal=False
    )
    return replace(honest, **changes)


def test_models_are_evaluated_once_a_question(victim):
    """Else the scores of any weights on the held-out cases could be asked for without end."""
    train(victim, 3)
    honest = an_evaluation(victim)
    once = victim.site.answer(pack(honest))
    assert isinstance(unpack(once, sender="north"), EvaluateReply)
    other = replace(honest, tensors=zeros(victim.tensors))
    assert victim.refuses(other) == "rounds_in_order"
    assert victim.site.answer(pack(honest)) == once
    own = an_evaluation(victim, round=3, personal=True, tensors={})
    assert isinstance(victim.ask(own), EvaluateReply)
    assert victim.refuses(replace(own, tensors=victim.shared)) == "rounds_in_order"


@pytest.mark.parametrize(
    "lie",
    [
        {"round": 1},
        {"round": 0},
        {"round": 10**6},
        {"round": 2, "brief": True},
        {"best": True},
        {"routed": True},
        {"personal": True},
        {"personal": True, "round": 4, "tensors": {}},
        {"personal": True, "round": 3, "best": True, "tensors": {}},
        {"personal": True, "round": 3, "routed": True, "tensors": {}},
        {"personal": True, "round": 3, "tensors": "all"},
        {"tensors": {}},
        {"tensors": "shared"},
    ],
    ids=str,
)
def test_other_evaluations_than_agreed(victim, lie):
    train(victim, 3)
    kinds = {"all": victim.tensors, "shared": victim.shared}
    changes = lie | ({"tensors": kinds[lie["tensors"]]} if lie.get("tensors") else {})
    assert victim.refuses(an_evaluation(victim, **changes)) == "as_agreed"


def test_experts_that_the_federation_does_not_know(tmp_path):
    victim = a_victim(tmp_path, routed=True).prepare()
    for experts in (("global", "site-elsewhere"), ("",), ("../../x",)):
        tensors = {f"{e}/{n}": t.clone() for e in experts for n, t in victim.tensors.items()}
        asked = an_evaluation(victim, routed=True, tensors=tensors)
        assert victim.refuses(asked) == "as_agreed"


A_MODEL = ModelInvite(run="", method="fedbn", round=3)


def test_a_model_that_the_file_or_the_policy_keeps(tmp_path):
    train(victim := a_victim(tmp_path).prepare(), 3)
    assert victim.refuses(A_MODEL) == "model_stays"
    (tmp_path / "north" / FILE_NAME).write_text("share_model = true")
    assert a_victim(tmp_path).refuses(A_MODEL) == "as_agreed"
    asked = a_victim(tmp_path, routed=True)
    assert asked.refuses(replace(A_MODEL, round=4)) == "as_agreed"
    assert isinstance(asked.ask(A_MODEL), ModelReply)
    assert asked.refuses(replace(A_MODEL, tensors=victim.shared)) == "rounds_in_order"


def test_probes_beyond_the_one_that_was_agreed(tmp_path):
    train(victim := a_victim(tmp_path, contribution=True).prepare(), 2)
    probe = ProbeInvite(tensors=victim.shared, run="", method="fedbn", round=2)
    assert victim.refuses(replace(probe, round=1)) == "as_agreed"
    assert victim.refuses(replace(probe, tensors=victim.tensors)) == "as_agreed"
    assert isinstance(victim.ask(probe), ProbeReply)
    assert victim.refuses(replace(probe, tensors=zeros(victim.shared))) == "rounds_in_order"
    assert a_victim(tmp_path).refuses(probe) == "as_agreed"


def test_a_site_that_has_left_or_does_not_train(tmp_path):
    victim = a_victim(tmp_path).prepare()
    spec = victim.federation.sites["north"]
    for member in (replace(spec, joins=2), replace(spec, trains=False)):
        sites = {**victim.federation.sites, "north": member}
        changed = replace(victim.federation, sites=sites)
        site = type(victim.site)("north", changed, victim.base, prepared=tmp_path / "prepared")
        assert Victim(site, changed, victim.plan).refuses(victim.invite(0)) == "as_agreed"


def test_the_sites_own_iterations_are_the_agreed_ones(tmp_path):
    victim = a_victim(tmp_path).prepare()
    spec = replace(victim.federation.sites["north"], iterations_per_round=1)
    sites = {**victim.federation.sites, "north": spec}
    changed = replace(victim.federation, sites=sites)
    site = type(victim.site)("north", changed, victim.base, prepared=tmp_path / "prepared")
    other = Victim(site, changed, victim.plan)
    assert other.refuses(victim.invite(0)) == "as_agreed"
    own = victim.invite(0, iterations=1, schedule_length=AGREED["rounds"] + 1)
    assert isinstance(other.ask(own), TrainReply)
