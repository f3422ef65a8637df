"""Progress bars on the terminal, one for each site and step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from fednnunet.text import printable


class Bars:
    """One bar at a time for each site; call it as `bars(site, done, total, what)`."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bars: dict[str, TaskID] = {}

    def __call__(self, site: str, done: int, total: int, what: str) -> None:
        """Show that `site` has finished `done` of `total` steps of `what`."""
        text = printable(f"{site}  {what}")
        if site not in self._bars:
            self._bars[site] = self._progress.add_task(text, total=total)
        bar = self._bars[site]
        self._progress.update(bar, completed=done, total=total, description=text)
        if done >= total:
            self._progress.remove_task(bar)
            del self._bars[site]


@contextmanager
def bars(console: Console) -> Iterator[Bars]:
    """Progress bars that disappear when their step is done, and are not written to log files."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield Bars(progress)
