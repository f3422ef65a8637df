from __future__ import annotations

from pathlib import Path

import pytest

from fednnunet.planning.explain import why
from fednnunet.planning.figures import draw_figures
from fednnunet.planning.fingerprint import Fingerprint
from fednnunet.planning.planner import make_plan
from tests.planning.cases import exchanges, make_cases

FINGERPRINT, SHAPES = exchanges(make_cases(9))
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
