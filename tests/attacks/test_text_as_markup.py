"""Names that are markup, HTML, formulas or terminal escapes where they are shown."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest

from fednnunet.commands.cli import PlainConsole, run_command
from fednnunet.commands.plan import _table
from fednnunet.commands.progress import bars
from fednnunet.errors import InputError
from fednnunet.evaluation.metrics import CaseScores, TargetScore
from fednnunet.evaluation.page import write_page
from fednnunet.evaluation.tables import read_cases_csv, write_cases_csv
from fednnunet.planning.explain import why
from fednnunet.planning.figures import draw_figures
from fednnunet.task import Task
from tests.planning import cases as made_up
from tests.training.fakes import small_plan

MARKUP = "[/bold] [red]\x1b[31m</red> :smile:"
HTML = "<script>alert(1)</script> | [a](http://x) `b`"
FORMULAS = ['=HYPERLINK("http://x")', "+1+cmd", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "'=1"]


def plan_of(name):
    labels = ("background", f"{name} 1", f"{name} 2")
    return small_plan(task=Task(name=name, channels=(name,), labels=labels))[0]


def test_a_task_named_in_markup_is_printed_as_it_is():
    stream = io.StringIO()
    console = PlainConsole(file=stream, width=300)
    console.print(_table(plan_of(MARKUP)))
    console.print(f"a {MARKUP}")
    text = " ".join(stream.getvalue().split())  # a title is wrapped to its table's width
    assert text.count("[/bold] [red]") == 2
    assert ":smile:" in text
    assert "\x1b" not in text


def test_a_bar_for_a_site_named_in_markup_is_shown():
    stream = io.StringIO()
    with bars(PlainConsole(file=stream, width=200, force_terminal=True)) as show:
        show("[/red]", 1, 2, "[/bold]")
    assert "[/red]  [/bold]" in stream.getvalue()


def test_an_error_does_not_steer_the_terminal(capsys):
    def fail():
        raise InputError("\x1b[2Jgone [/bold]", where="a\x07b", mend="c\u202ed")

    assert run_command(fail) == 2
    shown = capsys.readouterr().err
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "\u202e" not in shown
    assert "gone [/bold]" in shown
    assert shown.count("\n") == 3


def test_html_in_names_stays_text_in_why_md():
    text = why(plan_of(HTML))
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert "[a](" not in text
    row = next(line for line in text.splitlines() if line.startswith("| &lt;script"))
    assert row.replace("\\|", "").count("|") == 7


def test_html_and_escapes_stay_text_in_pages(tmp_path, monkeypatch):
    from jinja2 import DictLoader

    import fednnunet.evaluation.page as page

    monkeypatch.setattr(page, "PackageLoader", lambda *_: DictLoader({"a": "<p>{{ x }}</p>"}))
    write_page(tmp_path / "a.html", "a", x=f"{HTML}\x1b\u202e")
    text = (tmp_path / "a.html").read_text()
    assert "<script>" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text


@pytest.mark.parametrize("name", FORMULAS)
def test_a_name_is_no_formula_in_a_table_and_is_read_as_it_was(tmp_path, name):
    score = TargetScore(
        dice=0.5, iou=0.4, hd95_mm=1.0, assd_mm=0.5, reference_vox=3, predicted_vox=4
    )
    path = tmp_path / "scores.csv"
    write_cases_csv(path, {name: [CaseScores(case=name, targets={name: score})]})
    with path.open(newline="") as stream:
        row = list(csv.reader(stream))[1]
    assert all(value.startswith("'") for value in row[:3]) or row[0].startswith("\\x")
    if name.isprintable():
        read = read_cases_csv(path)
        assert list(read) == [name]
        assert read[name][0].case == name
        assert list(read[name][0].targets) == [name]


def test_a_dollar_in_a_name_is_a_dollar_in_a_figure(tmp_path):
    fingerprint, shapes = made_up.exchanges(made_up.make_cases(6))
    plan = made_up.plan_of_cases(made_up.make_cases(6))
    task = replace(plan.task, channels=("$\\frac{", "$x$ <b>"))
    plan = replace(plan, task=task)
    draw_figures(plan, fingerprint, shapes, tmp_path)
    assert "<b>" not in (tmp_path / "why_intensity.svg").read_text()
