"""Progress bars on the terminal, one for each site and step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

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

EVERY_S = 60.0  # seconds between two lines of a log file


class Bars:
    """One bar at a time for each site; call it as `bars(site, done, total, what)`."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bars: dict[str, TaskID] = {}
        self._whole: TaskID | None = None

    def whole(self, done: int, total: int, what: str) -> None:
        """Show how far the whole command is, in a bar that stays beside those of the sites."""
        text = printable(what)
        if self._whole is None:
            self._whole = self._progress.add_task(text, total=total)
        self._progress.update(self._whole, completed=done, total=total, description=text)

    @property
    def line(self) -> str:
        """All bars as one line of text, for a log file; empty without bars."""
        return "; ".join(
            f"{task.description}  {task.completed:,.0f} of {task.total or 0:,.0f}"
            for task in list(self._progress.tasks)
        )

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
def bars(console: Console, *, every_s: float = EVERY_S) -> Iterator[Bars]:
    """Progress bars that disappear when their step is done.

    Where there is no terminal, they are written as a line of text every so many seconds instead.
    """
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        shown, end = Bars(progress), Event()
        lines = Thread(target=_write_lines, args=(shown, console, every_s, end), daemon=True)
        if not console.is_terminal:
            lines.start()
        try:
            yield shown
        finally:
            end.set()
            if lines.ident is not None:
                lines.join()


def _write_lines(shown: Bars, console: Console, every_s: float, end: Event) -> None:
    while not end.wait(every_s):
        if line := shown.line:
            console.print(line, markup=False, highlight=False, soft_wrap=True)
