"""Train a planned federation whose sites are folders on this machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from fednnunet import records
from fednnunet.api.plan import SiteProgress
from fednnunet.federation.coordinator.history import RoundRecord
from fednnunet.federation.coordinator.run import Run
from fednnunet.federation.site.wall import OnFault
from fednnunet.federation.spec import Federation
from fednnunet.federation.workflows.lengths import Watch, extension_notes, run_length
from fednnunet.federation.workflows.simulation import simulation_engine
from fednnunet.federation.workflows.train import (
    Observer,
    TrainingScores,
    check_runs,
    train_together,
)
from fednnunet.federation.workflows.warm_start import start_from
from fednnunet.inference.bundle import Bundle, read_bundle
from fednnunet.planning.plan import read_plan
from fednnunet.training.threads import threads_of_run, using


def train(
    run: Path | str,
    *,
    start: Bundle | Path | str | None = None,
    device: str | None = None,
    progress: SiteProgress | None = None,
    observer: Observer | None = None,
    on_fault: OnFault | None = None,
    on_note: Callable[[str], None] | None = None,
    watch: Watch | None = None,
) -> TrainingScores:
    """Train the run folder that `plan` wrote, or continue an interrupted training.

    A training that has ended goes on where `federation.json` has more rounds now (see
    `federation.coordinator.extension`); whoever calls this approves them for all sites.

    `start` is a bundle whose weights the training begins from, instead of random ones: every tensor
    that fits is taken, and heads only where the labels are the same. It is named in the run folder,
    so it need not be given again to go on.

    `device` replaces that of the federation file: auto, cpu, cuda, cuda:1 or mps. `observer(run,
    record)` is told of every round, and `on_note` of the number of CPU threads (see
    `training.threads`) and of a changed number of rounds; `watch` follows every iteration. Writes
    bundles, the history and `scores.json`, and returns the sums of scores of every model on
    held-out cases.
    """
    folder = Path(run)
    federation = records.read(Federation, folder / "federation.json")
    plan = read_plan(folder / "plan.json")
    if start is not None:
        bundle = start if isinstance(start, Bundle) else read_bundle(Path(start))
        federation, started = start_from(bundle, federation, plan, folder)
        if on_note:
            on_note(started.in_words())
    if device:
        training = dataclasses.replace(federation.training, device=device)
        federation = dataclasses.replace(federation, training=training)
    runs = check_runs(federation, plan, folder)  # before the plan is approved for the sites
    threads = threads_of_run(folder, federation.training.threads)
    for note in (str(threads), *extension_notes(runs)):
        if on_note:
            on_note(note)
    if watch:
        watch.begin([run_length(federation, run) for run in runs])
    engine = simulation_engine(
        federation,
        folder,
        plan=plan,
        progress=progress,
        on_fault=on_fault,
        on_iteration=watch.iteration if watch else None,
    )
    with using(threads):
        return train_together(engine, federation, plan, folder, observer=observer or _nobody)


def _nobody(run: Run, record: RoundRecord) -> None:
    """Observes nothing."""
