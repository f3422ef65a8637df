from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fednnunet.errors import InputError
from fednnunet.network.roles import role
from fednnunet.training.recipe import RECIPES
from fednnunet.training.state import CURRENT, PREVIOUS, forget_first_moments, load, new_state, save
from fednnunet.training.trainer import train
from tests.training.fakes import CPU, a_job, blobs, names_of, small_plan

STORE = blobs()


def fresh(recipe="fast", seed=1, **changes):
    plan, configuration = small_plan(**changes)
    return new_state(plan, configuration, RECIPES[recipe], CPU, seed=seed)


def go_on(state, iterations, *, recipe="fast", execution=CPU, frozen=frozenset(), **changes):
    plan, configuration = small_plan(**changes)
    job = a_job(
        store=STORE,
        plan=plan,
        configuration=configuration,
        recipe=RECIPES[recipe],
        iterations=iterations,
        schedule_length=8,
        frozen=frozen,
    )
    return train(state, job, execution)


def equal(a, b):
    one, two = a.network.state_dict(), b.network.state_dict()
    return all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_a_restart_changes_no_bit(tmp_path, recipe, norm):
    whole = fresh(recipe, norm=norm)
    go_on(whole, 6, recipe=recipe, norm=norm)
    first = fresh(recipe, norm=norm)
    go_on(first, 2, recipe=recipe, norm=norm)
    save(first, tmp_path)
    second = fresh(recipe, seed=99, norm=norm)
    assert load(second, tmp_path)
    assert (second.step, second.seed) == (2, 1)
    go_on(second, 4, recipe=recipe, norm=norm)
    assert equal(whole, second)


def test_fused_optimisers_restart_alike(tmp_path):
    execution = replace(CPU, fused=True)
    plan, configuration = small_plan()
    states = []
    for cut in (False, True):
        state = new_state(plan, configuration, RECIPES["fast"], execution, seed=1)
        go_on(state, 3, execution=execution)
        if cut:
            save(state, tmp_path)
            state = new_state(plan, configuration, RECIPES["fast"], execution, seed=5)
            load(state, tmp_path)
        go_on(state, 3, execution=execution)
        states.append(state)
    assert equal(*states)


def test_parts_trained_at_different_times_train_fused_as_one_by_one():
    """The heads have momentum from before, the rest begins: torch's fused SGD refuses that."""
    plan, configuration = small_plan()
    states = []
    for fused in (True, False):
        execution = replace(CPU, fused=fused)
        state = new_state(plan, configuration, RECIPES["nnunet"], execution, seed=1)
        body = names_of(state, lambda name: role(name) != "head")
        go_on(state, 2, recipe="nnunet", execution=execution, frozen=body)
        go_on(state, 2, recipe="nnunet", execution=execution)
        states.append(state)
    pairs = zip(*(state.network.parameters() for state in states), strict=True)
    for p, q in pairs:
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-6)


def test_nothing_saved_is_nothing_loaded(tmp_path):
    assert load(fresh(), tmp_path) is False


def test_a_damaged_file_falls_back_on_the_one_before(tmp_path):
    state = fresh()
    save(state, tmp_path)
    go_on(state, 1)
    path = save(state, tmp_path)
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    other = fresh(seed=4)
    with pytest.warns(UserWarning, match="damaged"):
        assert load(other, tmp_path)
    assert other.step == 0
    path.write_bytes(bytes(data[:100]))
    with pytest.warns(UserWarning, match="damaged"):
        assert load(other, tmp_path)
    (tmp_path / PREVIOUS).unlink()
    with pytest.raises(InputError, match="damaged"):
        load(other, tmp_path)


def test_only_the_last_two_are_kept_and_no_half_file(tmp_path):
    state = fresh()
    for _ in range(3):
        save(state, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {CURRENT, PREVIOUS}


def test_another_network_or_recipe_is_refused(tmp_path):
    save(fresh(), tmp_path)
    with pytest.raises(InputError, match="another network"):
        load(fresh(features=(4, 6)), tmp_path)
    with pytest.raises(InputError, match="recipe"):
        load(fresh("nnunet"), tmp_path)


def test_given_weights_are_taken():
    plan, configuration = small_plan()
    weights = {k: v + 1 for k, v in fresh().network.state_dict().items()}
    state = new_state(plan, configuration, RECIPES["fast"], CPU, seed=2, weights=weights)
    got = state.network.state_dict()
    assert all(torch.equal(got[name], weights[name]) for name in weights)


def test_tensors_swapped_between_rounds_keep_the_optimiser(tmp_path):
    state = fresh()
    go_on(state, 2)
    before = [dict(s) for s in state.optimiser.state.values()]
    state.network.load_state_dict(fresh(seed=8).network.state_dict())
    after = list(state.optimiser.state.values())
    assert all(a["exp_avg"] is b["exp_avg"] for a, b in zip(after, before, strict=True))
    go_on(state, 1)
    save(state, tmp_path)
    assert load(fresh(), tmp_path)


@pytest.mark.parametrize(
    ("recipe", "first", "second"),
    [
        ("fast", "exp_avg", "exp_avg_sq"),
        ("nnunet", "momentum_buffer", None),
    ],
)
def test_first_moments_can_be_forgotten_while_second_ones_stay(recipe, first, second):
    state = fresh(recipe)
    go_on(state, 2, recipe=recipe)
    forget_first_moments(state)
    for moments in state.optimiser.state.values():
        assert not moments[first].any()
        assert second is None or moments[second].any()
