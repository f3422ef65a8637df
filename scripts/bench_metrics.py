"""Surface metrics beside MONAI and `surface-distance`, in one run: CPU seconds and agreement.

    pip install monai surface-distance; python scripts/bench_metrics.py -o bench_metrics.json

Two label maps of 200 x 512 x 512 voxels with ten classes are made: ellipsoids with a rough surface,
the prediction a few voxels beside the reference. Every program gets the two masks of each class and
gives HD, HD95, ASSD and NSD at 2 mm; ours gives all metrics of all classes from the label maps.
`surface-distance` computes its distances once for all metrics; MONAI once for each metric. The
programs take turns; the table shows medians of CPU seconds, which a busy machine hardly changes. A
program that is not installed is left out.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from scipy import ndimage

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from fednnunet import records  # noqa: E402
from fednnunet.evaluation.metrics import MetricSettings, score_mask  # noqa: E402
from fednnunet.task import Task  # noqa: E402

SHAPE = (200, 512, 512)
SPACING = (2.5, 0.8, 0.8)
TOLERANCE = 2.0
Scores = dict[int, dict[str, float]]
Program = Callable[[np.ndarray, np.ndarray, int], Scores]


def main(argv: Sequence[str] | None = None) -> int:
    """Time every program that is installed, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--shape", type=int, nargs=3, default=SHAPE, metavar=("Z", "Y", "X"))
    parser.add_argument("-o", "--output", type=Path, default=Path("bench_metrics.json"))
    options = parser.parse_args(argv)
    predicted, reference = make_masks(tuple(options.shape), options.classes)
    programs: dict[str, Program] = {"fednnunet": ours}
    programs |= {
        name: run
        for name, run in (("monai", monai), ("surface_distance", deepmind))
        if _installed(name)
    }
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    found: dict[str, Scores] = {}
    for _ in range(options.repeats):
        for name, run in programs.items():
            start = time.process_time()
            found[name] = run(predicted, reference, options.classes)
            seconds[name].append(time.process_time() - start)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    differences = {
        name: _largest_differences(found["fednnunet"], scores) for name, scores in found.items()
    }
    for name, median in medians.items():
        ratio = median / medians["fednnunet"]
        differs = {metric: f"{value:.2g}" for metric, value in differences[name].items()}
        print(f"{name:17} {median:8.2f} s {ratio:6.1f} x   differs by at most {differs}")
    shape = list(options.shape)
    results = {"shape": shape, "seconds": seconds, "median_s": medians, "differs_by": differences}
    records.write(results, options.output)
    return 0


def make_masks(shape: tuple[int, ...], classes: int) -> tuple[np.ndarray, np.ndarray]:
    """A prediction and its reference (z, y, x): ellipsoids side by side, with rough surfaces."""
    rng = np.random.default_rng(0)
    coarse = rng.normal(size=tuple(-(-side // 8) for side in shape)).astype(np.float32)
    noise = ndimage.zoom(coarse, 8, order=1)[tuple(slice(side) for side in shape)]
    masks = [np.zeros(shape, np.int16) for _ in range(2)]
    columns = -(-classes // 2)
    grid = np.ogrid[tuple(slice(side) for side in shape)]
    for index in range(classes):
        centre = (
            shape[0] / 2,
            shape[1] * (0.28 + 0.44 * (index % 2)),
            shape[2] * (index // 2 + 0.5) / columns,
        )
        radii = (shape[0] * (0.2 + 0.02 * index), shape[1] * 0.18, shape[2] * 0.42 / columns)
        for mask, beside in zip(masks, (3, 0), strict=True):
            square = sum(
                ((axis - middle - beside) / radius) ** 2
                for axis, middle, radius in zip(grid, centre, radii, strict=True)
            )
            mask[square + 0.1 * noise * (1 + 0.1 * beside) < 1] = index + 1
    return masks[0], masks[1]


def ours(predicted: np.ndarray, reference: np.ndarray, classes: int) -> Scores:
    """All metrics of all classes from the label maps."""
    names = [f"class {value}" for value in range(1, classes + 1)]
    task = Task(name="bench", channels=("CT",), labels=("background", *names))
    settings = MetricSettings(tolerance_mm=TOLERANCE)
    scores = score_mask(predicted, reference, SPACING, task, settings=settings)
    return {
        value: {"hd": s.hd_mm, "hd95": s.hd95_mm, "assd": s.assd_mm, "nsd": s.nsd}
        for value, s in enumerate(scores.targets.values(), start=1)
    }


def monai(predicted: np.ndarray, reference: np.ndarray, classes: int) -> Scores:
    """MONAI's functions, each of which finds the surfaces and distances anew."""
    import torch

    metrics = importlib.import_module("monai.metrics")
    found: Scores = {}
    for value in range(1, classes + 1):
        pair = [torch.from_numpy((m == value)[None, None]) for m in (predicted, reference)]
        common = {"include_background": True, "spacing": SPACING}
        hd = metrics.compute_hausdorff_distance(*pair, **common)
        hd95 = metrics.compute_hausdorff_distance(*pair, percentile=95, **common)
        assd = metrics.compute_average_surface_distance(*pair, symmetric=True, **common)
        nsd = metrics.compute_surface_dice(*pair, class_thresholds=[TOLERANCE], **common)
        names = ("hd", "hd95", "assd", "nsd")
        found[value] = {n: float(v) for n, v in zip(names, (hd, hd95, assd, nsd), strict=True)}
    return found


def deepmind(predicted: np.ndarray, reference: np.ndarray, classes: int) -> Scores:
    """The package `surface-distance`: one set of distances for all metrics of a class."""
    module = importlib.import_module("surface_distance")
    found: Scores = {}
    for value in range(1, classes + 1):
        pair = reference == value, predicted == value
        distances = module.compute_surface_distances(*pair, SPACING)
        found[value] = {
            "hd": module.compute_robust_hausdorff(distances, 100),
            "hd95": module.compute_robust_hausdorff(distances, 95),
            "assd": float(np.mean(module.compute_average_surface_distance(distances))),
            "nsd": module.compute_surface_dice_at_tolerance(distances, TOLERANCE),
        }
    return found


def _installed(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        print(f"{name} is not installed, so it is left out", file=sys.stderr)
        return False
    return True


def _largest_differences(first: Scores, second: Scores) -> dict[str, float]:
    """The largest difference of each metric over the classes."""
    return {
        metric: max(abs(first[value][metric] - second[value][metric]) for value in first)
        for metric in first[1]
    }


if __name__ == "__main__":
    raise SystemExit(main())
