"""What minimum counts change in a plan: python scripts/bench_minimum_counts.py [--data DATA].

The cases of every golden list (plans/examples, and a folder given with `--golden`) are split over 2
and 5 sites; each site releases its sums under `min_bin_count`, and the plan of their sum is
compared with nnU-Net's. The lists hold no intensities, so that normalisation constants are compared
on real volumes: each set of sites in `--data`. Lists are split at random, into sites of random
size; where one would have fewer cases than the minimum count, and so would not answer, into sites
of equal size. Real sites with fewer cases are left out.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fednnunet.dataset import read_dataset
from fednnunet.dataset_header import task_of
from fednnunet.interop.case_list import CaseList, fingerprints, read_case_list, split
from fednnunet.planning.fingerprint import CaseFingerprint, Fingerprint
from fednnunet.planning.intensity import merged_intensity
from fednnunet.planning.minimum_counts import release_fingerprint, release_shapes
from fednnunet.planning.plan import Intensity, Plan
from fednnunet.planning.planner import make_plan
from fednnunet.planning.shapes import ShapeSketch
from fednnunet.planning.spacing import target_spacing
from fednnunet.preprocess.measure_site import measure_cases
from fednnunet.task import Task

EXAMPLES = Path(__file__).resolve().parents[1] / "plans" / "examples"
UNKNOWN = Intensity(
    mean=0.0, median=0.0, std=1.0, min=0.0, max=0.0, percentile_00_5=0.0, percentile_99_5=0.0
)
CONSTANTS = ("mean", "std", "percentile_00_5", "percentile_99_5")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How plans are made from a list of cases."""

    task: Task
    planner: str
    memory_gib: float | None
    intensity: tuple[Intensity, ...] | None

    @classmethod
    def of(cls, cases: CaseList) -> Settings:
        """Those that a golden list states."""
        known = tuple(cases.intensity.get(str(i), UNKNOWN) for i in range(len(cases.channels)))
        return cls(
            task=cases.task,
            planner=cases.planner_name,
            memory_gib=cases.gpu_memory_gib,
            intensity=known,
        )


def released_plan(
    parts: Sequence[Sequence[CaseFingerprint]], settings: Settings, min_bin_count: int
) -> tuple[Plan, Fingerprint]:
    """The plan of sites that release their sums under `min_bin_count`, and the merged sums."""
    total = Fingerprint.empty(settings.task)
    for part in parts:
        total = total + release_fingerprint(settings.task, part, min_bin_count=min_bin_count)
    target = target_spacing(total)
    shapes = ShapeSketch.empty(target)
    for part in parts:
        pairs = [(case.spacing_mm, case.shape_vox) for case in part]
        shapes = shapes + release_shapes(target, pairs, min_bin_count=min_bin_count)
    plan = make_plan(
        total,
        shapes,
        planner=settings.planner,
        memory_gib=settings.memory_gib,
        intensity=settings.intensity,
    )
    return plan, total


def changes(exact: Plan, plan: Plan) -> tuple[str, str, str, str]:
    """Largest change of spacing and median shape in %, and what else differs."""
    a, b = exact.configurations[-1], plan.configurations[-1]
    names = [c.name for c in exact.configurations]
    others = [c.name for c in plan.configurations]
    if names != others:
        listed = "+".join(sorted(set(names) ^ set(others)))
        full = "3d_fullres" if "3d_fullres" in {*names} & {*others} else "2d"
        a, b = exact.configuration(full), plan.configuration(full)
    else:
        listed = ""
    spacing = _most(a.spacing_mm, b.spacing_mm)
    shape = _most(a.median_shape_vox, b.median_shape_vox)
    patch = "same" if a.patch_vox == b.patch_vox else f"{_x(a.patch_vox)} -> {_x(b.patch_vox)}"
    batch = "same" if a.batch == b.batch else f"{a.batch} -> {b.batch}"
    if exact.transpose != plan.transpose:
        listed += " axes"
    if a.architecture != b.architecture:
        listed += " strides or stages"
    return f"{spacing:.2f} %, {shape:.2f} %", patch, batch, listed.strip() or "same"


def _most(before: Sequence[float], after: Sequence[float]) -> float:
    return max(abs(b / a - 1) for a, b in zip(before, after, strict=True)) * 100


def _x(values: Sequence[int]) -> str:
    return "x".join(map(str, values))


def golden_rows(paths: Sequence[Path], min_bin_count: int, seeds: int) -> Iterator[str]:
    """One table row for each list, number of sites and seed."""
    for path in paths:
        cases = read_case_list(path)
        settings, measured = Settings.of(cases), fingerprints(cases)
        exact, _ = released_plan([measured], settings, 1)
        for sites in (2, 5):
            for seed in range(seeds):
                places = split(len(measured), sites, seed)
                start = f"| {path.stem} ({len(measured)}) | {sites}"
                if min(map(len, places)) < min_bin_count:
                    order = np.random.default_rng(seed).permutation(len(measured))
                    places = [part.tolist() for part in np.array_split(order, sites)]
                sizes = ", ".join(str(len(part)) for part in places)
                parts = [[measured[i] for i in part] for part in places]
                plan, _ = released_plan(parts, settings, min_bin_count)
                yield f"{start}: {sizes} | {' | '.join(changes(exact, plan))} |"


def data_rows(folder: Path, min_bin_count: int) -> Iterator[str]:
    """One table row for each channel of a set of sites: the normalisation constants."""
    found = sorted(path for path in folder.iterdir() if (path / "dataset.json").is_file())
    task = task_of(found[0])
    parts = [measure_cases(read_dataset(s, task, site=s.name).cases, task) for s in found]
    parts = [part for part in parts if len(part) >= min_bin_count]
    if not parts:
        return
    settings = Settings(task=task, planner="plain", memory_gib=None, intensity=None)
    exact, whole = released_plan(parts, settings, 1)
    plan, total = released_plan(parts, settings, min_bin_count)
    before, after = merged_intensity(whole), merged_intensity(total)
    cells = " | ".join(changes(exact, plan))
    for name, a, b in zip(task.channels, before, after, strict=True):
        pairs = [(getattr(a, field), getattr(b, field)) for field in CONSTANTS]
        shown = " | ".join(f"{x:.4g} -> {y:.4g} ({_percent(x, y, a.std)})" for x, y in pairs)
        count = f"{sum(map(len, parts))} in {len(parts)}"
        yield f"| {folder.name} {name} ({count}) | {cells} | {shown} |"


def _percent(before: float, after: float, std: float) -> str:
    """The change in % of the value, and in % of the standard deviation."""
    own = f"{(after / before - 1) * 100:+.1f} %" if before else "-"
    return f"{own}, {math.copysign(abs(after - before) / std * 100, after - before):+.1f} % of std"


def main(argv: Sequence[str] | None = None) -> int:
    """Print both tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--golden", type=Path, help="a folder of more golden lists")
    parser.add_argument("--data", type=Path, nargs="*", default=[], help="folders of sites")
    parser.add_argument("--min-bin-count", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args(argv)
    paths = sorted(EXAMPLES.glob("*.json"))
    paths += sorted(options.golden.glob("*.json")) if options.golden else []
    print("| list (cases) | sites | spacing, median shape | patch | batch | other |")
    print("|---|---|---|---|---|---|")
    for row in golden_rows(paths, options.min_bin_count, options.seeds):
        print(row)
    if options.data:
        print(f"\n| set | spacing, shape | patch | batch | other | {' | '.join(CONSTANTS)} |")
        print("|" + "---|" * (5 + len(CONSTANTS)))
    for folder in options.data:
        for row in data_rows(folder, options.min_bin_count):
            print(row)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
