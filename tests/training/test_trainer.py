"""Whether a job is trained in this process or by one process per GPU."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fednnunet.training import trainer
from tests.training.fakes import CPU, a_job
from tests.training.steps import state


@pytest.mark.parametrize(("devices", "where"), [(1, "here"), (2, "processes")])
def test_several_devices_get_a_process_each(monkeypatch, devices, where):
    monkeypatch.setattr(trainer, "train_in_process", lambda *given: ("here", given))
    monkeypatch.setattr(trainer, "train_on_devices", lambda *given: ("processes", given))
    here, job, execution = state(), a_job(), replace(CPU, devices=devices)
    assert trainer.train(here, job, execution) == (where, (here, job, execution))
