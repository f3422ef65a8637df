"""The bar of a prediction: cases that are done, tiles of the present one, and the time left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from fednnunet.text import printable


class PredictBar:
    """One bar over all cases, which moves with every tile."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._row: TaskID = progress.add_task("predicting", total=None, what="")
        self._done, self._total, self._name = 0, 0, ""

    def cases(self, done: int, total: int, what: str) -> None:
        """So many cases are done; `what` is the name of the present one."""
        self._done, self._total, self._name = done, total, printable(what)
        self._show(done, "")

    def tiles(self, done: int, total: int, what: str) -> None:
        """So many tiles of the present case are done."""
        self._show(self._done + done / max(total, 1), f", {what} {done:,}/{total:,}")

    def _show(self, completed: float, tiles: str) -> None:
        self._progress.update(
            self._row,
            completed=completed,
            total=self._total,
            description=f"predicting {self._name}",
            what=f"{self._done:,}/{self._total:,} cases{tiles}",
        )


@contextmanager
def predict_bar(console: Console) -> Iterator[PredictBar]:
    """A bar on the console while the context lasts."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[what]}", markup=False),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=console) as progress:
        yield PredictBar(progress)
