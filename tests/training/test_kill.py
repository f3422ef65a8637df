"""Training that is killed at any moment goes on to the very same weights."""

from __future__ import annotations

import multiprocessing
import random
import signal
import time

import torch

from fednnunet.training.recipe import RECIPES
from fednnunet.training.state import CURRENT, load, new_state
from tests.training.fakes import CPU, small_plan
from tests.training.resumable import STEPS, train_and_save

# Processes that are forked from one that has imported torch and done nothing with it yet.
FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(["tests.training.resumable", "torch._dynamo"])


def start(folder):
    process = FORKED.Process(target=train_and_save, args=(folder,))
    process.start()
    return process


def written(folder):
    """What changes whenever a state is saved; `None` while there is none."""
    try:
        return (folder / CURRENT).stat().st_mtime_ns
    except FileNotFoundError:
        return None


def ended(process):
    """Wait for a process to end; its exit code."""
    process.join(120)
    return process.exitcode


def weights(folder):
    plan, configuration = small_plan()
    state = new_state(plan, configuration, RECIPES["fast"], CPU, seed=0)
    assert load(state, folder) and state.step == STEPS
    return state.network.state_dict()


def test_killed_at_random_points_it_ends_with_the_same_weights(tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert ended(start(whole)) == 0
    rng = random.Random(0)
    for _ in range(2):
        before = written(cut)
        process = start(cut)
        while process.is_alive() and written(cut) == before:
            time.sleep(0.02)
        time.sleep(rng.uniform(0, 0.2))
        process.kill()
        assert ended(process) == -signal.SIGKILL, "it ended before it was killed"
    assert ended(start(cut)) == 0
    one, two = weights(whole), weights(cut)
    assert all(torch.equal(one[name], two[name]) for name in one)
