"""How long trainings are, known before they begin."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fednnunet.federation.coordinator.history import save_round
from fednnunet.federation.coordinator.run import Run
from fednnunet.federation.spec import Federation, SiteSpec
from fednnunet.federation.training_spec import Training
from fednnunet.federation.workflows.lengths import extension_notes, network_of, run_length
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
    assert note.startswith("fedavg: 4 rounds in place of 3; done so far: 1")
    same = replace(run, training=replace(run.training, rounds=3))
    assert list(extension_notes([same])) == []


def a_federation(training: Training) -> Federation:
    task = small_plan()[0].task
    sites = {
        "a": SiteSpec(folder=Path("a")),
        "b": SiteSpec(folder=Path("b"), iterations_per_round=3, joins=2),
        "c": SiteSpec(folder=Path("c"), trains=False),
    }
    return Federation(task=task, sites=sites, training=training)


def test_the_iterations_of_the_sites_that_are_there_are_counted(tmp_path: Path) -> None:
    run = small_run(tmp_path, iterations_per_round=5, personal_rounds=1)
    length = run_length(a_federation(run.training), run)
    assert (length.method, length.rounds) == ("fedavg", (5, 8, 8, 8, 8))
    assert length.iterations == 37


def test_of_sites_in_turn_the_mean_counts_and_of_pooled_cases_one_site(tmp_path: Path) -> None:
    run = small_run(tmp_path, iterations_per_round=5, sites_per_round=1, personal_rounds=1)
    assert run_length(a_federation(run.training), run).rounds == (5, 4, 4, 4, 8)
    pooled = small_run(tmp_path, iterations_per_round=5, method="pooled")
    assert run_length(a_federation(pooled.training), pooled).rounds == (5, 5, 5, 5)
