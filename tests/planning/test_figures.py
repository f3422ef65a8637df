from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from fednnunet.planning.explain import why
from fednnunet.planning.figures import draw_figures
from fednnunet.planning.planner import make_plan
from fednnunet.planning.sketch import ForegroundSketch
from tests.planning.cases import exchanges, make_cases

CASES = make_cases(9)
FINGERPRINT, SHAPES = exchanges(CASES)
PLAN = make_plan(FINGERPRINT, SHAPES)


def test_figures_are_drawn_and_shown(tmp_path: Path) -> None:
    figures = draw_figures(PLAN, FINGERPRINT, SHAPES, tmp_path)
    assert [path.name for path in figures] == [
        "why_spacing.svg",
        "why_shape.svg",
        "why_intensity.svg",
    ]
    text = why(PLAN, figures=figures)
    for path in figures:
        assert path.read_text().lstrip().startswith("<?xml")
        assert f"({path.name})" in text
    assert len(list(tmp_path.iterdir())) == len(figures)


def test_a_fingerprint_without_foreground_has_no_figure_of_intensities(tmp_path: Path) -> None:
    plain = [
        replace(
            case, foreground=tuple(ForegroundSketch.of_voxels(np.empty(0)) for _ in case.foreground)
        )
        for case in CASES
    ]
    fingerprint, shapes = exchanges(plain)
    figures = draw_figures(PLAN, fingerprint, shapes, tmp_path)
    assert [path.name for path in figures] == ["why_spacing.svg", "why_shape.svg"]
