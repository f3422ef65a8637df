"""Attacks and Dice by defence: python scripts/bench_privacy.py FEDERATION -o OUT --site NAME.

The federation is planned once and trained once a defence (its `training` changed as `DEFENCES`
says); then `fednnunet_audit` runs at one site. Every cell is kept in OUT/cells/NAME.json, and a
second call computes what is missing. A defence counts only against an attack that succeeds without
defences in the same audit; see `fednnunet.audit.record`. With `--only` some cells are computed.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fednnunet import records
from fednnunet.audit.record import JSON, Audit
from fednnunet.commands import audit, plan, train
from fednnunet.federation.privacy.settings import Privacy
from fednnunet.federation.spec import Federation
from fednnunet.federation.training_spec import Training
from fednnunet.federation.workflows.train import SCORES, TrainingScores


def by_site(clip: float, noise: float) -> Privacy:
    """Updates clipped and noised."""
    return Privacy(unit="site", clip=clip, noise=noise, delta=1e-3)


def by_patient(noise: float) -> Privacy:
    """DP-SGD."""
    return Privacy(unit="patient", clip=1.0, noise=noise, delta=1e-3)


DEFENCES: dict[str, dict[str, object]] = {
    "none": {},
    "private_head": {"method": "fedbn_head"},
    "quantised": {"filters": ({"name": "quantised"},)},
    "clip": {"privacy": by_site(1.0, 0.0)},
    "site_noise_1": {"privacy": by_site(1.0, 1.0)},
    "site_noise_8": {"privacy": by_site(1.0, 8.0)},
    "patient_noise_1": {"privacy": by_patient(1.0)},
    "patient_noise_4": {"privacy": by_patient(4.0)},
}
"""What is changed of the training `method = "fedavg"`, by the name of the cell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One trained and attacked federation: mean Dice over sites and the audit."""

    defence: str
    dice: float | None
    audit: Audit


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Where cells are computed, which site is attacked, and how large inversion is."""

    out: Path
    site: str
    targets: int
    steps: int
    edge: int

    def cell(self, name: str) -> Cell:
        """A cell, computed unless it is kept."""
        kept = self.out / "cells" / f"{name}.json"
        if not kept.is_file():
            records.write(self._compute(name), kept)
        return records.read(Cell, kept)

    def _compute(self, name: str) -> Cell:
        run = self.out / "runs" / name
        if not (run / "federation.json").is_file():
            shutil.rmtree(run, ignore_errors=True)
            shutil.copytree(self.out / "plan", run)
        planned = records.read(Federation, self.out / "plan" / "federation.json")
        plain = dataclasses.replace(planned.training, method="fedavg", filters=(), privacy=None)
        training: Training = dataclasses.replace(plain, **DEFENCES[name])
        records.write(dataclasses.replace(planned, training=training), run / "federation.json")
        sizes = ["--targets", self.targets, "--steps", self.steps, "--edge", self.edge]
        check(train.main([str(run)]), name)
        check(audit.main([str(run), "--site", self.site, *map(str, sizes)]), name)
        found = records.read(Audit, run / "sites" / self.site / audit.FOLDER / JSON)
        return Cell(defence=name, dice=_dice(run), audit=found)


def check(code: int, name: str) -> None:
    """Stop where a command has failed."""
    if code:
        raise SystemExit(f"the cell {name} failed with exit code {code}")


def _dice(run: Path) -> float | None:
    scores = records.read(TrainingScores, run / SCORES)
    model = next((m for m in scores.models if m.model in ("global", "personal")), None)
    sums = [
        one.targets[target].dice.mean
        for one in (model.sites.values() if model else ())
        for target in one.targets
    ]
    defined = [value for value in sums if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else None


def row(cell: Cell) -> str:
    """One table row: Dice, each inversion's SSIM over the best guess's, and the AUC."""
    cells = [cell.defence, "-" if cell.dice is None else f"{cell.dice:.3f}"]
    for kind in ("one iteration", "whole round"):
        rows = [one for one in cell.audit.inversions if one.round == kind]
        rows.sort(key=lambda one: one.defended)
        cells.append(
            ", then ".join(
                f"{one.ssim:.2f} ({one.baseline_ssim:.2f}, {one.beaten}/{one.targets})"
                for one in rows
            )
        )
    known = cell.audit.membership.get("global")
    auc = known.auc if known else None
    cells.append(f"{auc.value:.2f} ({auc.low:.2f} to {auc.high:.2f})" if auc else "-")
    return f"| {' | '.join(cells)} |"


def main(argv: Sequence[str] | None = None) -> int:
    """Compute what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("federation", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--site", required=True, help="the site whose cases are attacked")
    parser.add_argument("--only", nargs="+", choices=list(DEFENCES), default=list(DEFENCES))
    parser.add_argument("--targets", type=int, default=4)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--edge", type=int, default=24)
    options = parser.parse_args(argv)
    out: Path = options.output
    if not (out / "plan" / "federation.json").is_file():
        check(plan.main([str(options.federation), "-o", str(out / "plan")]), "plan")
    work = Work(
        out=out, site=options.site, targets=options.targets, steps=options.steps, edge=options.edge
    )
    found = [work.cell(name) for name in options.only]
    print("| defence | Dice | SSIM, one iteration | SSIM, whole round | AUC |")
    print("|---|---|---|---|---|")
    for cell in found:
        print(row(cell))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
