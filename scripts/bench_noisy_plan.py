"""How stable a plan is under noisy counts: python scripts/bench_noisy_plan.py LIST [--draws 100].

The cases of a golden list (plans/examples) are split over sites of equal size; each releases its
sums with Gaussian noise (`planning.noisy_counts`), and the plan of their sum is compared with that
of exact sums, once a draw of the noise. Epsilon is that of a site's two releases, the fingerprint
and the resampled shapes, at delta 1e-5.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fednnunet.federation.privacy.accountant import Mechanism, epsilon
from fednnunet.interop.case_list import fingerprints, read_case_list
from fednnunet.planning.fingerprint import CaseFingerprint, Fingerprint
from fednnunet.planning.noisy_counts import noisy_fingerprint, noisy_shapes
from fednnunet.planning.plan import Configuration, Intensity, Plan
from fednnunet.planning.planner import make_plan
from fednnunet.planning.shapes import ShapeSketch
from fednnunet.planning.spacing import target_spacing
from fednnunet.task import Task

DELTA = 1e-5


def plan_of(task: Task, sums: Fingerprint, shapes: ShapeSketch) -> Plan:
    """The plan of merged sums; golden lists hold no intensities, so none are taken."""
    unknown = Intensity(mean=0, median=0, std=1, min=0, max=0, percentile_00_5=0, percentile_99_5=0)
    return make_plan(sums, shapes, intensity=(unknown,) * len(task.channels))


def exact_plan(task: Task, cases: Sequence[CaseFingerprint]) -> Plan:
    """The plan of sums without noise."""
    sums = Fingerprint.of(task, cases)
    pairs = [(case.spacing_mm, case.shape_vox) for case in cases]
    return plan_of(task, sums, ShapeSketch.of_cases(target_spacing(sums), pairs))


def noisy_plan(
    task: Task, parts: Sequence[Sequence[CaseFingerprint]], noise: float, draw: int
) -> Plan:
    """The plan of sites that release noisy sums; each case is a patient of its own."""
    sums, keys = Fingerprint.empty(task), [f"{draw}/{n}".encode() for n in range(len(parts))]
    for key, part in zip(keys, parts, strict=True):
        even = (1.0,) * len(part)
        sums = sums + noisy_fingerprint(task, part, even, noise=noise, key=key)
    target = target_spacing(sums)
    shapes = ShapeSketch.empty(target)
    for key, part in zip(keys, parts, strict=True):
        pairs = [(case.spacing_mm, case.shape_vox) for case in part]
        even = (1.0,) * len(part)
        shapes = shapes + noisy_shapes(target, pairs, even, noise=noise, key=key + b"/shapes")
    return plan_of(task, sums, shapes)


def change(exact: Configuration, noisy: Configuration) -> tuple[float, float, bool, bool]:
    """Largest change of spacing and median shape (ratios above 1), and if patch and depth stay."""
    spacing = _ratio(exact.spacing_mm, noisy.spacing_mm)
    shape = _ratio(exact.median_shape_vox, noisy.median_shape_vox)
    same = exact.patch_vox == noisy.patch_vox
    stages = len(exact.architecture.stages) == len(noisy.architecture.stages)
    return spacing, shape, same, stages


def _ratio(before: Sequence[float], after: Sequence[float]) -> float:
    return max(max(a / b, b / a) for a, b in zip(before, after, strict=True))


def main(argv: Sequence[str] | None = None) -> int:
    """Print one table row a noise: how often the plan stays, and how far it moves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("list", type=Path, help="a golden list, e.g. plans/examples/X.json")
    parser.add_argument("--sites", type=int, default=2)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--noise", type=float, nargs="+", default=[0.25, 0.5, 1.0, 2.0])
    options = parser.parse_args(argv)
    listed = read_case_list(options.list)
    task, cases = listed.task, fingerprints(listed)
    exact = exact_plan(task, cases).configurations[-1]
    order = np.random.default_rng(0).permutation(len(cases))
    parts = [[cases[i] for i in part] for part in np.array_split(order, options.sites)]
    print(f"{options.list.stem}: {len(cases)} cases, {options.sites} sites, {options.draws} draws")
    print("| noise | epsilon | spacing changes | shape changes | same patch | depth |")
    print("|---|---|---|---|---|---|")
    for noise in options.noise:
        plans = [noisy_plan(task, parts, noise, draw) for draw in range(options.draws)]
        rows = [change(exact, plan.configurations[-1]) for plan in plans]
        spent = epsilon([Mechanism(noise=noise, steps=2)], DELTA)
        cells = [_spread([row[place] for row in rows]) for place in (0, 1)]
        stays = [f"{np.mean([row[place] for row in rows]):.0%}" for place in (2, 3)]
        print(f"| {noise:g} | {spent:.3g} | {' | '.join(cells)} | {' | '.join(stays)} |")
    return 0


def _spread(ratios: Sequence[float]) -> str:
    low, high = (np.percentile(ratios, share) - 1 for share in (50, 95))
    return f"{low:.0%} ({high:.0%})"


if __name__ == "__main__":
    raise SystemExit(main())
