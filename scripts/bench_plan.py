"""Time and memory of merging many sites and planning: python scripts/bench_plan.py.

Each site's cases are made up in turn, so that memory is that of the coordinator: one sum. The
reference is NumPy on the pooled lists of spacings and shapes, which no federation has.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Sequence

import numpy as np

from fednnunet.planning.fingerprint import CaseFingerprint, Fingerprint
from fednnunet.planning.planner import make_plan
from fednnunet.planning.shapes import ShapeSketch
from fednnunet.planning.sketch import ForegroundSketch
from fednnunet.planning.spacing import target_spacing
from fednnunet.planning.validate import validate, validate_shapes
from fednnunet.task import Task

TASK = Task(name="bench", channels=("CT",), labels=("background", "organ"))


def make_site(site: int, count: int) -> list[CaseFingerprint]:
    """The cases of a site, the same every time."""
    rng = np.random.default_rng(site)
    cases = []
    for _ in range(count):
        plane = round(float(rng.uniform(0.5, 1.0)), 4)
        z, y, x = (int(n) for n in rng.integers((80, 300, 300), (400, 600, 600)))
        foreground = ForegroundSketch.of_voxels(rng.normal(60, 40, 500).round())
        cases.append(
            CaseFingerprint(
                spacing_mm=(round(float(rng.uniform(0.7, 5)), 3), plane, plane),
                shape_vox=(z, y, x),
                crop_ratio=1.0,
                foreground=(foreground,),
                voxels_per_label=(z * y * x - 500, 500),
            )
        )
    return cases


def merge(sites: int, count: int) -> tuple[Fingerprint, ShapeSketch, float, int]:
    """Both exchanges; the seconds that the coordinator spends, and the bytes that a site sends."""
    total, seconds, size = Fingerprint.empty(TASK), 0.0, 0
    for site in range(sites):
        vector = Fingerprint.of(TASK, make_site(site, count)).to_vector()
        size = vector.nbytes
        start = time.perf_counter()
        received = Fingerprint.from_vector(TASK, vector, site=str(site))
        validate(received, site=str(site))
        total = total + received
        seconds += time.perf_counter() - start
    target = target_spacing(total)
    shapes = ShapeSketch.empty(target)
    for site in range(sites):
        pairs = [(case.spacing_mm, case.shape_vox) for case in make_site(site, count)]
        vector = ShapeSketch.of_cases(target, pairs).to_vector()
        start = time.perf_counter()
        sketch = ShapeSketch.from_vector(target, vector, site=str(site))
        validate_shapes(sketch, site=str(site), cases=count)
        shapes = shapes + sketch
        seconds += time.perf_counter() - start
    return total, shapes, seconds, size


def pooled(sites: int, count: int) -> tuple[np.ndarray, np.ndarray, float]:
    """NumPy's target spacing and median shape from the pooled lists, and its seconds."""
    cases = [case for site in range(sites) for case in make_site(site, count)]
    start = time.perf_counter()
    spacings = np.array([case.spacing_mm for case in cases])
    sizes = np.array([case.shape_vox for case in cases])
    target = np.percentile(spacings, 50, axis=0)
    median = np.median(np.rint(spacings / target * sizes), axis=0)
    return target, median, time.perf_counter() - start


def main(argv: Sequence[str] | None = None) -> int:
    """Print one line a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, default=1000)
    parser.add_argument("--cases", type=int, default=10, help="cases a site")
    options = parser.parse_args(argv)
    fingerprint, shapes, merging, size = merge(options.sites, options.cases)
    start = time.perf_counter()
    plan = make_plan(fingerprint, shapes, planner="plain")
    planning = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    target, median, reference = pooled(options.sites, options.cases)
    full = plan.configuration("3d_fullres")
    apart = np.max(np.abs(np.array(full.spacing_mm) / target[list(plan.transpose)] - 1))
    print(f"{options.sites} sites of {options.cases} cases")
    print(f"a site sends            {size / 2**20:6.2f} MiB, however many its cases")
    print(f"checking and merging    {merging:6.2f} s")
    print(f"planning                {planning:6.2f} s")
    print(f"peak memory             {peak:6.0f} MiB, with the interpreter")
    print(f"NumPy on pooled lists   {reference:6.2f} s: merging takes {merging / reference:.0f} x")
    print(f"spacing differs by      {apart:8.1e} (relative) from the pooled cases'")
    print(f"median shape            {full.median_shape_vox}, pooled {median[list(plan.transpose)]}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
