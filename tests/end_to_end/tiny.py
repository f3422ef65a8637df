"""Federations of tiny volumes, planned and trained in seconds."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from fednnunet import io, records
from fednnunet.commands import plan, train
from fednnunet.evaluation import compare_page, report
from fednnunet.federation.site import evaluation
from fednnunet.federation.site import site as site_module
from fednnunet.planning import figures
from fednnunet.planning.plan import Architecture, Plan, Stage, read_plan
from fednnunet.volume import Geometry, Volume

LABELS = ("background", "ball", "core")
SPACINGS = {"north": (1.0, 1.0, 1.0), "south": (1.2, 1.0, 1.0), "west": (1.0, 1.1, 1.1)}
CASES = 5

POLICY = """\
min_cases = 1
min_bin_count = 1
min_scored_cases = 1
min_squared_cases = 1
"""  # for phantoms only

TOML = """\
[task]
name = "tiny"
channels = ["MRI"]
labels = ["background", "ball", "core"]

[sites.north]
folder = "north"

[sites.south]
folder = "south"

[sites.west]
folder = "west"
trains = false

[budget]
planner = "cpu"

[training]
method = "fedbn_head"
rounds = 2
iterations_per_round = 2
public_rounds = 1
held_out = 0.2
device = "cpu"
"""


def make_federation(root: Path, *, toml: str = TOML, channels: int = 1) -> Path:
    """Three sites of five cases under `root`; returns the path of the federation file."""
    for site in SPACINGS:
        make_site(root / site, site, channels=channels)
    path = root / "federation.toml"
    path.write_text(toml)
    return path


def make_site(folder: Path, site: str, *, channels: int = 1) -> None:
    """A ball with a core in every volume, at a place and of a size of its own."""
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    rng = np.random.default_rng(list(SPACINGS).index(site))
    for number in range(CASES):
        shape = tuple(int(n) for n in rng.integers(13, 17, 3))
        centre, radius = rng.uniform(6, 8, 3), rng.uniform(4, 5)
        places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
        distance = np.linalg.norm(places - centre, axis=-1)
        label = (distance < radius).astype(np.uint8) + (distance < radius / 2)
        geometry = Geometry(spacing_mm=SPACINGS[site], origin_mm=(float(number), 2.0, -3.0))
        for channel in range(channels):
            noise = rng.normal(0, 0.3, shape)
            image = (100 * (label + noise) + 50).astype(np.float32)[None]
            path = folder / "imagesTr" / f"case_{number}_{channel:04d}.nii.gz"
            io.write_volume(Volume(array=image, geometry=geometry), path)
        io.write_mask(label, geometry, folder / "labelsTr" / f"case_{number}.nii.gz")
    header = {
        "channel_names": {str(i): ("MRI", "T2")[i] for i in range(channels)},
        "labels": {name: value for value, name in enumerate(LABELS)},
    }
    (folder / "dataset.json").write_text(json.dumps(header))
    (folder / "site.toml").write_text(POLICY)


def make_planned(federation: Path, run: Path) -> None:
    """Plan into `run`, and put a network there whose training step takes milliseconds."""
    with plain_pages():
        assert plan.main([str(federation), "-o", str(run)]) == 0
    shrink(run / "plan.json")


CHARTS = (
    (evaluation, "draw_case", evaluation.draw_case, b""),
    (figures, "draw_figures", figures.draw_figures, ()),
    (report, "dice_chart", report.dice_chart, ""),
    (report, "history_chart", report.history_chart, ""),
    (report, "graph_chart", report.graph_chart, ""),
    (compare_page, "boxes_chart", compare_page.boxes_chart, ""),
    (compare_page, "seeds_chart", compare_page.seeds_chart, ""),
    (compare_page, "differences_chart", compare_page.differences_chart, ""),
)
"""What draws pictures and charts: where it is called, the function, and a value in its place."""


@contextmanager
def plain_pages() -> Iterator[None]:
    """Plan, train and compare with whole pages, but without pictures of cases and charts in them.

    Drawing them takes several times as long as all else. Each has tests of its own.
    """
    with pytest.MonkeyPatch.context() as patch:
        for module, name, _, made in CHARTS:
            patch.setattr(module, name, partial(_made, made))
        yield


@contextmanager
def drawn_pages() -> Iterator[None]:
    """Plan and train with every picture, chart and report, also within one of the others."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name, whole, _ in CHARTS:
            patch.setattr(module, name, whole)
        for module, name, whole in WITH_PICTURES:
            patch.setattr(module, name, whole)
        yield


WITH_PICTURES = (
    (evaluation, "draw_case", evaluation.draw_case),
    (site_module, "report_site", site_module.report_site),
    (train, "report_run", train.report_run),
)
"""What draws pictures and reports: where it is called, and the function itself."""


@contextmanager
def no_pictures() -> Iterator[None]:
    """Train without pictures of cases and without reports, which take longer than the training."""
    with pytest.MonkeyPatch.context() as patch:
        for (module, name, _), made in zip(WITH_PICTURES, (b"", None, "no report"), strict=True):
            patch.setattr(module, name, partial(_made, made))
        yield


def _made(value: object, *args: object, **kwargs: object) -> object:
    return value


def shrink(path: Path) -> None:
    """Replace a plan's network by that of `small_plan`."""
    records.write(small_plan(read_plan(path)), path)


def small_plan(whole: Plan) -> Plan:
    """A plan with one 3d_fullres: two stages of 4 and 8 features and patches of 8 voxels."""
    ones, twos, kernel = (1, 1, 1), (2, 2, 2), (3, 3, 3)
    stages = (
        Stage(features=4, kernel=kernel, stride=ones, convs=1, decoder_convs=1),
        Stage(features=8, kernel=kernel, stride=twos, convs=1, decoder_convs=0),
    )
    small = dataclasses.replace(
        whole.configuration("3d_fullres"),
        patch_vox=(8, 8, 8),
        batch=2,
        architecture=Architecture(kind="plain", stages=stages),
    )
    return dataclasses.replace(whole, configurations=(small,))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file under a folder and its bytes, but for sites' ledgers and logs, which only grow."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(("ledger", "site.log"))
    }
