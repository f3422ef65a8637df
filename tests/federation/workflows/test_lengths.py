"""How long trainings are, known before they begin."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fednnunet.federation.coordinator.history import save_round
from fednnunet.federation.coordinator.run import Run
from fednnunet.federation.training_spec import Training
from fednnunet.federation.workflows.lengths import extension_notes, network_of
from fednnunet.training.initial import initial_tensors
from tests.federation.coordinator.test_history import a_record, a_state
from tests.training.fakes import small_plan


def small_run(folder: Path, **settings: object) -> Run:
    values: dict = {"method": "fedavg", "rounds": 4, "public_rounds": 0, **settings}
    return Run(name="", folder=folder, plan=small_plan()[0], training=Training(**values))


def test_the_network_without_content_has_the_tensors_of_the_real_one(tmp_path: Path) -> None:
    run = small_run(tmp_path)
    real = initial_tensors(run.plan, run.training.configuration, seed=0)
    found = network_of(run)
    assert {n: (t.shape, t.dtype) for n, t in found.items()} == {
        n: (t.shape, t.dtype) for n, t in real.items()
    }
    assert all(tensor.is_meta for tensor in found.values())


def test_a_run_whose_rounds_have_changed_is_named(tmp_path: Path) -> None:
    run = small_run(tmp_path)
    (tmp_path / "rounds").mkdir()
    assert list(extension_notes([run])) == []
    save_round(tmp_path / "rounds", a_state(1), a_record(1, "a", of=3))
    (note,) = extension_notes([run])
    assert note.startswith("fedavg: 4 rounds in place of 3, 1 are done")
    same = replace(run, training=replace(run.training, rounds=3))
    assert list(extension_notes([same])) == []
