"""The bar moves with every tile."""

from __future__ import annotations

import io

from rich.console import Console
from rich.progress import Progress

from fednnunet.commands.predict_bar import PredictBar, predict_bar


def test_a_bar_counts_cases_and_tiles() -> None:
    progress = Progress(disable=True)
    bar = PredictBar(progress)
    bar.cases(0, 4, "one")
    bar.tiles(5, 20, "tiles")
    (row,) = progress.tasks
    assert (row.completed, row.total) == (0.25, 4)
    assert row.description == "predicting one" and row.fields["what"] == "0/4 cases, tiles 5/20"
    bar.cases(1, 4, "two\x1b[2J")
    assert row.completed == 1 and "\x1b" not in row.description


def test_it_is_shown_on_the_console() -> None:
    text = io.StringIO()
    with predict_bar(Console(file=text, force_terminal=True, width=100)) as bar:
        bar.cases(1, 2, "a")
        bar.cases(2, 2, "done")
    assert "2/2 cases" in text.getvalue()
