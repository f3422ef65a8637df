from __future__ import annotations

import io

from rich.console import Console
from rich.progress import Progress

from fednnunet.commands.progress import Bars, bars


def test_a_site_has_one_bar_which_goes_when_its_step_is_done():
    progress = Progress(console=Console(file=io.StringIO()))
    show = Bars(progress)
    show("north", 0, 2, "measure")
    show("south", 0, 3, "measure")
    show("north", 1, 2, "prepare")
    assert [(t.description, t.completed, t.total) for t in progress.tasks] == [
        ("north  prepare", 1, 2),
        ("south  measure", 0, 3),
    ]
    show("north", 2, 2, "prepare")
    assert [task.description for task in progress.tasks] == ["south  measure"]
    show("north", 0, 5, "train")
    assert len(progress.tasks) == 2


def test_escapes_and_markup_in_a_name_do_not_reach_the_terminal():
    console = Console(file=io.StringIO(), force_terminal=True, width=200)
    with bars(console) as show:
        show("a\x1b]0;owned\x07[red]b", 0, 2, "measure")
    text = console.file.getvalue()
    assert "\x1b]0;owned" not in text
    assert "[red]b" in text


def test_a_log_file_has_no_bars():
    console = Console(file=io.StringIO(), width=200)
    with bars(console) as show:
        show("north", 0, 2, "measure")
    assert console.file.getvalue().strip() == ""
