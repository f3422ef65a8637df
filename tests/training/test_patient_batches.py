"""Poisson sampling of patients: independent, by the key, and with all patches in a row."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fednnunet.training.local_training import _source
from fednnunet.training.patient_batches import PatientSource, SamplePatients
from fednnunet.training.state import new_state
from tests.training.fakes import CPU, a_job, small_plan, source

PATIENTS = (("case0", "case1"), ("case2",))


def patients(rate: float = 0.5, patches: int = 1, key: bytes = b"key", **changes) -> PatientSource:
    sampling = SamplePatients(patients=PATIENTS, rate=rate, patches=patches)
    return PatientSource(base=source(**changes), sampling=sampling, key=key)


def test_each_patient_is_in_a_step_independently_with_the_rate():
    made = patients(rate=0.3)
    found = np.array([[place in made.chosen(step) for place in (0, 1)] for step in range(4000)])
    assert abs(found.mean(0) - 0.3).max() < 5 * (0.21 / 4000) ** 0.5
    assert abs(np.corrcoef(found.T)[0, 1]) < 5 / 4000**0.5


def test_who_is_chosen_follows_from_the_key_and_not_from_the_seed():
    steps = range(40)
    one = [patients(seed=1).chosen(step) for step in steps]
    assert one == [patients(seed=2).chosen(step) for step in steps]
    assert one != [patients(key=b"other").chosen(step) for step in steps]


def test_a_round_that_is_trained_again_has_other_patients():
    made = patients()
    other = replace(made, sampling=replace(made.sampling, use="/joint/3"))
    assert [made.chosen(s) for s in range(40)] != [other.chosen(s) for s in range(40)]


def test_a_batch_has_the_patches_of_each_patient_in_a_row():
    batch = patients(rate=1.0, patches=3)[0]
    assert len(batch) == 6
    assert batch.image.shape == (6, 1, 8, 8, 8)
    assert len(batch.supervision) == 6
    assert torch.equal(batch.image, patients(rate=1.0, patches=3)[0].image)


def test_patches_come_of_all_cases_of_the_patient():
    made = patients(rate=1.0, patches=1)
    assert made.cases(0) == {"case0", "case1", "case2"}
    only = patients(rate=1.0, patches=8)
    different = {image.sum().item() for image in only[0].image[:8]}
    assert len(different) == 8


@pytest.mark.parametrize("patch", [(8, 8, 8), (8, 8)])
def test_an_iteration_without_a_patient_is_an_empty_batch(patch):
    plan, configuration = small_plan(patch=patch)
    job = a_job(plan=plan, configuration=configuration)
    state = new_state(plan, configuration, job.recipe, CPU, seed=0)
    sampling = SamplePatients(patients=PATIENTS, rate=0.0, patches=1)
    base = _source(job, state, (0, 1))
    made = sampling(base, state)
    assert made[0].image.shape == (0, *base[0].image.shape[1:])
    assert made[0].labels.shape == (0, *base[0].labels.shape[1:])
    assert made.cases(0) == frozenset()


def test_the_key_is_that_of_the_states_memory():
    plan, configuration = small_plan()
    state = new_state(plan, configuration, a_job().recipe, CPU, seed=0)
    sampling = SamplePatients(patients=PATIENTS, rate=0.5, patches=1)
    made = sampling(source(), state)
    assert "privacy/key" in state.memory
    assert made.key == sampling(source(), state).key
