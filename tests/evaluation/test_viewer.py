"""The viewer's page holds all that it shows, and shows the mask where it is."""

from __future__ import annotations

import base64
import gzip
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image as png

from fednnunet.errors import DataError
from fednnunet.evaluation.viewer import write_viewer
from fednnunet.volume import Geometry, Volume

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
GEOMETRY = Geometry(spacing_mm=(1.0, 1.0, 1.0))
SHAPE = (8, 40, 40)


def volumes(value: int = 1) -> tuple[Volume, Volume]:
    """A grey cube, and a mask in its anterior corner towards the patient's left."""
    image = np.full((1, *SHAPE), 50.0, np.float32)
    image[:, 2:6, 4:36, 4:36] = 100.0
    mask = np.zeros((1, *SHAPE), np.int16)
    mask[:, :, 8:14, 26:32] = value  # y towards posterior, x towards the patient's left
    return Volume(array=image, geometry=GEOMETRY), Volume(array=mask, geometry=GEOMETRY)


def test_the_page_needs_nothing_else(tmp_path: Path) -> None:
    image, mask = volumes()
    write_viewer(tmp_path / "v.html", image, {"<m>": mask}, labels=("background", "<organ>"))
    text = (tmp_path / "v.html").read_text(encoding="utf-8")
    head, _, rest = text.partition("<script>")
    assert "default-src 'none'" in head and "&lt;organ&gt;" in head
    assert not re.search(r'(src|href)="http', head)
    found = re.search(r'<script type="application/json" id="volumes">(.*?)</script>', rest, re.S)
    assert found
    stored = json.loads(found[1])
    assert [volume["name"] for volume in stored] == ["image", "<m>"]
    assert stored[1]["labels"]["labels"] == ["background", "<organ>"]
    assert stored[1]["labels"]["A"] == [0, 255]
    header = gzip.decompress(base64.b64decode(stored[0]["data"]))[:348]
    assert int.from_bytes(header[70:72], "little") == 4  # int16, as every value is whole


def test_a_mask_on_another_grid_is_refused(tmp_path: Path) -> None:
    image, mask = volumes()
    other = Volume(array=mask.array[:, :4], geometry=GEOMETRY)
    with pytest.raises(DataError, match="the mask m"):
        write_viewer(tmp_path / "v.html", image, {"m.nii.gz": other})


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
def test_the_mask_has_its_colour_at_its_place(tmp_path: Path) -> None:
    """Axial, as radiologists see it: the patient's left is on the right, anterior above."""
    assert CHROMIUM
    image, mask = volumes()
    write_viewer(tmp_path / "v.html", image, {"m": mask})
    shot = tmp_path / "shot.png"
    options = [
        "--headless", "--no-sandbox", "--no-first-run", "--disable-sync", "--use-angle=swiftshader",
        "--enable-unsafe-swiftshader", "--disable-background-networking", "--window-size=500,540",
        f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={shot}", "--hide-scrollbars",
        "--virtual-time-budget=15000",
    ]  # fmt: skip
    url = (tmp_path / "v.html").as_uri() + "#axial"
    done = subprocess.run(
        [CHROMIUM, *options, url], capture_output=True, text=True, check=False, timeout=200
    )
    assert shot.is_file(), done.stderr[-2000:]
    seen = png.imread(shot)[..., :3]
    below = seen[100:]  # without the bar above, whose legend has the same colour
    red, green, blue = np.moveaxis(below, -1, 0)
    orange = (red > 0.5) & (red - blue > 0.2) & (green > blue)
    grey = (np.abs(red - blue) < 0.05) & (red > 0.1)
    assert orange.sum() > 300, "nothing has the mask's colour"
    (y, x), (top, left) = (np.argwhere(where).mean(axis=0) for where in (orange, grey | orange))
    assert x > left + 20 and y < top - 20
