"""Write the history as TensorBoard event files, if TensorBoard is installed."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fednnunet.federation.coordinator.history import RoundRecord
from fednnunet.federation.coordinator.rounds import Run
from fednnunet.federation.workflows.train import Observer

FOLDER = "tensorboard"


def open_board(folder: Path) -> Observer | None:
    """An observer of rounds that writes to `folder/tensorboard`; `None` without TensorBoard.

    A resumed training reports all of its rounds again, so earlier files are replaced at the first
    round.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    writers: list[Any] = []

    def observe(run: Run, record: RoundRecord) -> None:
        if not writers:
            shutil.rmtree(folder / FOLDER, ignore_errors=True)
            writers.append(SummaryWriter(str(folder / FOLDER)))
        for name, value in figures(record, run.plan.task.targets).items():
            writers[0].add_scalar(f"{run.method_name}/{name}", value, record.round)
        writers[0].flush()

    return observe


def figures(record: RoundRecord, targets: tuple[str, ...]) -> dict[str, float]:
    """The numbers that sites state of a round, e.g. `loss/berlin` and `dice_liver/berlin`."""
    found: dict[str, float] = {"shift": record.shift}
    for site, row in record.sites.items():
        found |= {} if row.loss is None else {f"loss/{site}": row.loss}
        found[f"seconds/{site}"] = row.seconds
        found[f"wait_share/{site}"] = row.wait_share
        found |= _named("dice", site, dict(zip(targets, row.dice, strict=False)))
        found |= _named("held_out_dice", site, dict(zip(targets, row.held_out, strict=False)))
    for site, scores in record.scores.items():
        found |= _named("case_dice", site, {t: scores.targets[t].dice.mean for t in targets})
    return found


def _named(kind: str, site: str, values: Mapping[str, float | None]) -> dict[str, float]:
    """Values by target; undefined ones are left out."""
    return {
        f"{kind}_{target}/{site}": value
        for target, value in values.items()
        if value is not None and value == value
    }
