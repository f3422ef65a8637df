"""Training that is killed at any moment goes on to the very same weights."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

from fednnunet.training.recipe import RECIPES
from fednnunet.training.state import CURRENT, load, new_state
from tests.training.fakes import CPU, small_plan

ROOT = Path(__file__).resolve().parents[2]
STEPS = 40

PROGRAM = f"""
import sys
import torch
from pathlib import Path
from fednnunet.training.recipe import RECIPES
from fednnunet.training.state import load, new_state, save
from tests.training.fakes import CPU, small_plan, train_on_cpu
torch.set_num_threads(1)
folder = Path(sys.argv[1])
plan, configuration = small_plan()
state = new_state(plan, configuration, RECIPES["fast"], CPU, seed=1)
load(state, folder)
while state.step < {STEPS}:
    train_on_cpu(state, iterations=1, schedule_length={STEPS})
    save(state, folder)
"""


def start(folder):
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(folder)], cwd=ROOT)


def written(folder):
    """What changes whenever a state is saved; `None` while there is none."""
    try:
        return (folder / CURRENT).stat().st_mtime_ns
    except FileNotFoundError:
        return None


def weights(folder):
    plan, configuration = small_plan()
    state = new_state(plan, configuration, RECIPES["fast"], CPU, seed=0)
    assert load(state, folder) and state.step == STEPS
    return state.network.state_dict()


def test_killed_at_random_points_it_ends_with_the_same_weights(tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert start(whole).wait(timeout=120) == 0
    rng = random.Random(0)
    for _ in range(2):
        before = written(cut)
        process = start(cut)
        while process.poll() is None and written(cut) == before:
            time.sleep(0.02)
        time.sleep(rng.uniform(0, 0.2))
        process.kill()
        assert process.wait() == -signal.SIGKILL, "it ended before it was killed"
    assert start(cut).wait(timeout=120) == 0
    one, two = weights(whole), weights(cut)
    assert all(torch.equal(one[name], two[name]) for name in one)
