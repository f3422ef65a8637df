"""No page overflows its window, wide or narrow, with few sites or many."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from fednnunet.evaluation.charts import RoundPoint
from fednnunet.evaluation.pictures import CasePicture, draw_case, structure_colours
from fednnunet.evaluation.report import Report, write_report
from fednnunet.evaluation.scores_page import write_scores_page
from fednnunet.evaluation.site_graph import SiteEdge, SiteGraph
from fednnunet.evaluation.site_report import ModelCases, SiteReport, write_site_report
from fednnunet.evaluation.verdict import site_verdict
from fednnunet.evaluation.worst_cases import draw_worst
from tests.evaluation.test_pictures import _scene
from tests.evaluation.test_report import TASK, _case, _plan, _scores
from tests.evaluation.test_worst_cases import make_site

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync")
QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-quic")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]


def report_of(sites: int) -> Report:
    """A report with a graph, a history and long names."""
    names = [f"university_hospital_of_{i}" for i in range(sites)]
    rng = np.random.default_rng(0)
    edges = [
        SiteEdge(one=a, other=b, similarity=0.3 + 0.6 * float(rng.random()))
        for i, a in enumerate(names)
        for b in names[i + 1 :]
    ]
    return Report(
        title="a_task_with_a_very_long_name_that_has_no_space_in_it_at_all: sites",
        plan=_plan(),
        configuration="3d_fullres",
        facts=(("method", "FedEase: " + "a long sentence that says what it does " * 3),),
        history=tuple(
            RoundPoint(round=r, site=name, loss=1 / (r + i + 1), dice=r / 9)
            for r in range(9)
            for i, name in enumerate(names)
        ),
        models={
            model: {name: _scores(*rng.random(4)) for name in names}
            for model in ("global", "personal", "local")
        },
        graph=SiteGraph(round=3, sites=tuple(names), edges=tuple(edges)),
    )


def site_page(path: Path) -> None:
    """A site's page with pictures."""
    image, label = _scene()
    names = [f"patient_with_a_long_name_{i}" for i in range(4)]
    pictures = [
        CasePicture(
            case=name,
            rank=rank,
            dice=0.5,
            png=draw_case(image, np.roll(label, 2, axis=1), label, TASK, planes=planes),
        )
        for name, rank, planes in zip(names, ("worst", "median", "best"), (3, 1, 1), strict=False)
    ]
    scores = tuple(_case(name, 0.5) for name in names)
    dice = dict.fromkeys(names, 0.5)
    page = SiteReport(
        title="t: site university_hospital_of_a_city",
        models=(ModelCases(model="personal model", scores=scores, pictures=tuple(pictures)),),
        verdict=site_verdict({"personal": dice, "local": dice}),
        colours=structure_colours(TASK),
    )
    write_site_report(path, page)


def widths(page: Path, width: int) -> tuple[int, int]:
    """The window's inner width, and the width that the page needs, in pixels."""
    assert CHROMIUM
    inner = html.escape(page.read_text(encoding="utf-8"), quote=True)
    frame = (
        f'<iframe id="page" style="width: {width}px; height: 900px; border: 0" srcdoc="{inner}">'
    )
    script = (
        'window.onload = () => { const d = document.getElementById("page").contentDocument'
        '.documentElement; document.title = d.clientWidth + " " + d.scrollWidth; };'
    )
    outer = page.with_suffix(".frame.html")
    outer.write_text(f"<title>none</title>{frame}</iframe><script>{script}</script>")
    profile = f"--user-data-dir={page.parent / 'profile'}"
    options = (*FLAGS, *QUIET, profile, "--window-size=1400,1000", "--dump-dom")
    done = subprocess.run(
        [CHROMIUM, *options, outer.as_uri()],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    found = re.search(r"<title>(\d+) (\d+)</title>", done.stdout)
    assert found, done.stderr[-2000:]
    return int(found[1]), int(found[2])


@pytest.mark.parametrize("width", [1300, 400])
@pytest.mark.parametrize("sites", [2, 20])
def test_a_report_does_not_overflow(tmp_path: Path, sites: int, width: int) -> None:
    write_report(tmp_path / "report.html", report_of(sites))
    inner, needed = widths(tmp_path / "report.html", width)
    assert inner == pytest.approx(width, abs=20)
    assert needed <= inner


@pytest.mark.parametrize("width", [1300, 400])
def test_a_page_of_a_site_does_not_overflow(tmp_path: Path, width: int) -> None:
    site_page(tmp_path / "report.html")
    inner, needed = widths(tmp_path / "report.html", width)
    assert needed <= inner


def test_the_page_of_an_evaluation_does_not_overflow(tmp_path: Path) -> None:
    found = make_site(tmp_path)
    shown = [case for case, _, _ in draw_worst(found, 1)]
    write_scores_page(tmp_path / "scores.html", found, shown)
    inner, needed = widths(tmp_path / "scores.html", 400)
    assert needed <= inner
