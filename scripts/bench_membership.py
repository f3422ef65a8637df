"""Membership inference on planning sums: python scripts/bench_membership.py DATA/hippocampus.

The attacker is the coordinator and knows a candidate case's fingerprint exactly. Half of a site's
cases, chosen at random, are the members that the release is made from; the others are candidates
that did not take part. Two scores are computed for every case, and their AUC is the probability
that a member scores higher than a non-member (0.5: nothing is learnt):

* occupied bins: the share of the candidate's own histogram bins that are occupied in the release,
  for the bins of intensity, of shape, of all histograms, and for intensity also on the coarse bins
  of the protected release, which an attacker who knows its rules would use;
* likelihood ratio: the candidate's intensity histogram under the released one against that of the
  non-members (without the candidate), and the inner product of Homer et al. (2008); likewise for
  the candidate's shape.

Intervals are the 2.5 % and 97.5 % percentiles over splits. What
minimum counts change in plans is measured by bench_minimum_counts.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from fednnunet.audit.statistics import auc
from fednnunet.dataset import read_dataset
from fednnunet.dataset_header import task_of
from fednnunet.planning.fingerprint import AXES, CaseFingerprint, Fingerprint
from fednnunet.planning.minimum_counts import COARSE_BINS, COARSE_OF, release_fingerprint
from fednnunet.preprocess.measure_site import measure_cases
from fednnunet.task import Task

SMOOTH = 1e-4  # added to every histogram before a logarithm
HISTOGRAMS = ("crop_ratio", *(f"spacing_{a}" for a in AXES), *(f"shape_{a}" for a in AXES))
Scores = dict[str, float]


def intensity(fingerprint: Fingerprint, *, coarse: bool) -> np.ndarray:
    """Intensity histogram of the first channel with weight 1, on fine or released bins."""
    weight = fingerprint.block("foreground_0")[1]
    if coarse:
        weight = np.bincount(COARSE_OF, weight, COARSE_BINS)
    return weight / max(weight.sum(), 1e-12)


def occupied_share(release: Fingerprint, case: Fingerprint, names: Sequence[str]) -> float:
    """The share of the case's bins, in the named blocks, that are occupied in the release."""
    own = np.concatenate([_counts(case, name) for name in names]) > 0
    seen = np.concatenate([_counts(release, name) for name in names]) > 0
    return float(seen[own].mean())


def _counts(fingerprint: Fingerprint, name: str) -> np.ndarray:
    block = fingerprint.block(name)
    return block if block.ndim == 1 else block[1 if name.startswith("foreground") else 0]


def scores(release: Fingerprint, case: Fingerprint, reference: Fingerprint) -> Scores:
    """All of the attacker's scores of one candidate; `reference` sums over non-members."""
    shapes = [f"shape_{axis}" for axis in AXES]
    found = {
        "occupied: intensity": occupied_share(release, case, ["foreground_0"]),
        "occupied: shape": occupied_share(release, case, shapes),
        "occupied: all": occupied_share(release, case, ["foreground_0", *HISTOGRAMS]),
    }
    own = intensity(case, coarse=True) > 0
    seen = intensity(release, coarse=True) > 0
    found["occupied: intensity, released bins"] = float(seen[own].mean())
    for coarse, name in ((False, "fine bins"), (True, "released bins")):
        x, r, p = (intensity(f, coarse=coarse) for f in (case, release, reference))
        ratio = np.log((r + SMOOTH) / (p + SMOOTH))
        found[f"likelihood ratio: {name}"] = float((x * ratio).sum())
        found[f"inner product: {name}"] = float((x * (r - p)).sum())
    for width in (0, 2):
        pairs = [[shape_density(f, axis, width) for f in (release, reference)] for axis in AXES]
        edges = [int(np.argmax(case.block(f"shape_{axis}"))) for axis in AXES]
        found[f"likelihood ratio: shape, smoothed by {width} voxels"] = float(
            sum(np.log(r[edge] / p[edge]) for (r, p), edge in zip(pairs, edges, strict=True))
        )
    return found


def shape_density(fingerprint: Fingerprint, axis: str, width: int) -> np.ndarray:
    """Smoothed share of cases with each number of voxels along an axis, never 0."""
    counts = fingerprint.block(f"shape_{axis}")[:1024]
    kernel = np.exp(-0.5 * (np.arange(-4 * width, 4 * width + 1) / max(width, 1)) ** 2)
    smooth = np.convolve(counts, kernel / kernel.sum(), mode="same")
    return smooth / smooth.sum() + 1e-3


def attack(
    task: Task, cases: Sequence[CaseFingerprint], min_bin_count: int, seed: int
) -> dict[str, float]:
    """AUC of each score for one random half of members."""
    order = np.random.default_rng(seed).permutation(len(cases))
    members, others = order[: (len(cases) + 1) // 2], order[(len(cases) + 1) // 2 :]
    release = release_fingerprint(task, [cases[i] for i in members], min_bin_count=min_bin_count)
    single = [Fingerprint.of(task, [case]) for case in cases]
    outside = sum((single[i] for i in others), start=Fingerprint.empty(task))
    rows: dict[bool, list[Scores]] = {True: [], False: []}
    for i in order:
        member = i in members
        rest = outside.vector if member else outside.vector - single[i].vector
        reference = Fingerprint(task=task, vector=rest)
        rows[member].append(scores(release, single[i], reference))
    names = rows[True][0]
    return {n: auc([s[n] for s in rows[True]], [s[n] for s in rows[False]]) for n in names}


def sites(folder: Path) -> Iterator[tuple[str, Task, tuple[CaseFingerprint, ...]]]:
    """Each site of a folder, with its measured cases."""
    for site in sorted(path for path in folder.iterdir() if (path / "dataset.json").is_file()):
        task = task_of(site)
        yield site.name, task, measure_cases(read_dataset(site, task, site=site.name).cases, task)


def main(argv: Sequence[str] | None = None) -> int:
    """Print one table a site: AUC of each score at each minimum count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="a folder of sites, e.g. DATA/hippocampus")
    parser.add_argument("--splits", type=int, default=40)
    parser.add_argument("--min-bin-counts", type=int, nargs="+", default=[1, 5, 10])
    options = parser.parse_args(argv)
    for name, task, cases in sites(options.folder):
        print(f"\n{name}: {len(cases)} cases, {options.splits} splits; AUC (2.5 % to 97.5 %)")
        columns = []
        for count in options.min_bin_counts:
            if count > (len(cases) + 1) // 2:
                print(f"  min_bin_count {count}: refused, half of the cases are fewer")
                continue
            runs = [attack(task, cases, count, seed) for seed in range(options.splits)]
            columns.append((count, runs))
        print("| score | " + " | ".join(f"min_bin_count {c}" for c, _ in columns) + " |")
        print("|---|" + "---|" * len(columns))
        for row in columns[0][1][0]:
            cells = [_interval([run[row] for run in runs]) for _, runs in columns]
            print(f"| {row} | " + " | ".join(cells) + " |")
    return 0


def _interval(values: Sequence[float]) -> str:
    low, high = np.percentile(values, [2.5, 97.5])
    return f"{np.mean(values):.2f} ({low:.2f} to {high:.2f})"


if __name__ == "__main__":
    raise SystemExit(main())
