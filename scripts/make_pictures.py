"""Draw the pictures of the README and the documentation into docs/pictures/.

    python scripts/make_pictures.py [FOLDER]

The volume is made up: no picture shows a patient.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from scipy.ndimage import gaussian_filter

from fednnunet.evaluation.charts import COLOURS, INK, STYLE, as_svg
from fednnunet.evaluation.pictures import draw_case
from fednnunet.files import replacing, write_text
from fednnunet.task import Task
from fednnunet.volume import Geometry, Volume

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "pictures"
TASK = Task(name="made up", channels=("CT",), labels=("background", "organ", "tumour"))


def way_of_the_data() -> str:
    """Sites on the left, the coordinator on the right, and what passes between them, as SVG."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 3.2), layout="constrained")
        axes = figure.subplots()
        axes.set_xlim(0, 10)
        axes.set_ylim(0, 4)
        axes.set_axis_off()
        for row, name in enumerate(("site oslo", "site berlin")):
            bottom = 0.2 + 1.95 * row
            _box(axes, (0.1, bottom, 3.6, 1.65), name, "images and labels\nown model, own report")
            _arrow(axes, (3.8, bottom + 1.1), (6.3, 2.6 - 0.2 * (1 - row)))
            _arrow(axes, (6.3, 1.9 - 0.2 * (1 - row)), (3.8, bottom + 0.5))
        _box(axes, (6.4, 0.9, 3.5, 2.3), "coordinator", "plan, global model, report")
        axes.text(5.05, 3.55, "sums, shared weights", ha="center", color=INK)
        axes.text(5.05, 0.25, "plan, merged weights", ha="center", color=INK)
        return as_svg(figure)


def made_up_case() -> bytes:
    """A picture of a case, in three planes, as PNG."""
    rng = np.random.default_rng(3)
    z, y, x = np.meshgrid(*map(np.arange, (40, 96, 96)), indexing="ij")
    body = ((y - 48) / 44) ** 2 + ((x - 48) / 46) ** 2 < 1
    organ = ((z - 20) / 13) ** 2 + ((y - 44) / 22) ** 2 + ((x - 40) / 24) ** 2 < 1
    tumour = ((z - 21) / 5) ** 2 + ((y - 40) / 8) ** 2 + ((x - 34) / 9) ** 2 < 1
    label = organ.astype(np.uint8) + tumour
    levels = np.where(body, 20.0, -1000.0) + 60.0 * organ + 50.0 * tumour
    noise = gaussian_filter(rng.normal(0, 60, levels.shape), 0.8)
    image = (levels + noise * body).astype(np.float32)[None]
    predicted = np.roll(label, (1, 2, -2), axis=(0, 1, 2))
    geometry = Geometry(spacing_mm=(3.0, 1.0, 1.0))
    return draw_case(Volume(array=image, geometry=geometry), predicted, label, TASK, planes=3)


def _box(axes: Axes, place: tuple[float, float, float, float], title: str, text: str) -> None:
    x, y, width, height = place
    style = {"boxstyle": "round,pad=0.05", "facecolor": "white", "edgecolor": COLOURS[0]}
    axes.add_patch(FancyBboxPatch((x, y), width, height, **style))
    middle = x + width / 2
    axes.text(middle, y + height - 0.35, title, ha="center", fontweight="bold")
    axes.text(middle, y + height / 2 - 0.25, text, ha="center", va="center")


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.add_patch(
        FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=12, color=COLOURS[1])
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Draw all pictures."""
    given = sys.argv[1:] if argv is None else argv
    folder = Path(given[0]) if given else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "way.svg", way_of_the_data())
    with replacing(folder / "case.png") as temporary:
        temporary.write_bytes(made_up_case())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
