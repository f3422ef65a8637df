"""A training that saves its state after each iteration, for processes that are killed in it."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from fednnunet.training.recipe import RECIPES
from fednnunet.training.state import load, new_state, save
from tests.training.fakes import CPU, small_plan, train_on_cpu

STEPS = 40


def train_and_save(folder: Path) -> None:
    """Train up to `STEPS`, from the state in `folder` if there is one.

    Without waiting for the disk, as the tests do: what a killed process has written stays written.
    """
    os.fsync = lambda handle: None
    torch.set_num_threads(1)
    plan, configuration = small_plan()
    state = new_state(plan, configuration, RECIPES["fast"], CPU, seed=1)
    load(state, folder)
    while state.step < STEPS:
        train_on_cpu(state, iterations=1, schedule_length=STEPS)
        save(state, folder)
