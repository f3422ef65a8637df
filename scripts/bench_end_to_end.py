"""The whole way on the four hippocampus sites, as a table: Dice per site and training time.

    python scripts/bench_end_to_end.py ../shared/data/hippocampus -o runs/bench [--seeds 1]

Plans once, then trains each method from the same start on the same split, with 20 % of each site's
patients held out, and prints the table that the README quotes. Times are also given as a ratio to
`fedavg`.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from fednnunet import records
from fednnunet.commands import plan, train
from fednnunet.federation.history import load_records
from fednnunet.federation.spec import Federation
from fednnunet.federation.train_together import SCORES, TrainingScores
from fednnunet.files import write_text

ROOT = Path(__file__).resolve().parents[1]
METHODS = ("fedavg", "fedbn_head", "local")
REFERENCE = "fedavg"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One model of one method and seed: Dice per site, and the method's training time."""

    method: str
    model: str
    seed: int
    dice: dict[str, float]
    train_seconds: float
    cases: dict[str, int]

    @property
    def mean(self) -> float:
        """Mean over sites."""
        return statistics.fmean(self.dice.values())


def main(argv: Sequence[str] | None = None) -> int:
    """Run all methods and seeds, and write `table.md` and `rows.json`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("data", type=Path, help="folder with site_a ... site_d")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args(argv)
    rows: list[Row] = []
    for seed in range(options.seeds):
        for method in options.methods.split(","):
            rows += run_method(options.data, options.output / f"{method}_{seed}", method, seed)
            text = table(rows)
            write_text(options.output / "table.md", text)
            records.write({"rows": rows}, options.output / "rows.json")
    Console(highlight=False).print(table(rows), markup=False)
    return 0


def run_method(data: Path, folder: Path, method: str, seed: int) -> list[Row]:
    """Plan and train into `folder`, going on if it was begun; its models as rows."""
    with tempfile.TemporaryDirectory() as temporary:
        toml = Path(temporary) / "federation.toml"
        toml.write_text(federation_text(data.resolve(), method, seed), encoding="utf-8")
        if plan.main([str(toml), "-o", str(folder)]) or train.main([str(folder)]):
            raise SystemExit(2)
    scores = records.read(TrainingScores, folder / SCORES)
    federation = records.read(Federation, folder / "federation.json")
    rounds = load_records(folder / "rounds")
    seconds = sum(site.seconds for record in rounds for site in record.sites.values())
    return [
        Row(
            method=method,
            model=model.model,
            seed=federation.training.seed,
            dice={site: sums.mean("dice") for site, sums in model.sites.items()},
            train_seconds=seconds,
            cases={site: sums.cases for site, sums in model.sites.items()},
        )
        for model in scores.models
    ]


def federation_text(data: Path, method: str, seed: int) -> str:
    """The worked federation with absolute folders, another method and another seed."""
    lines = (ROOT / "plans" / "hippocampus.toml").read_text(encoding="utf-8").splitlines()
    out = []
    for line in lines:
        key = line.split("=")[0].strip()
        if key == "folder":
            site = line.rsplit("/", 1)[1].rstrip('"')
            out.append(f'folder = "{data / site}"')
        elif key == "method":
            out.append(f'method = "{method}"')
        elif key == "seed":
            out.append(f"seed = {seed}")
        else:
            out.append(line)
    return "\n".join(out) + "\n"


def table(rows: Sequence[Row]) -> str:
    """Markdown: a line per method and model, means over seeds."""
    sites = sorted({site for row in rows for site in row.dice})
    reference = [row.train_seconds for row in rows if row.method == REFERENCE]
    head = ["method", "model", *sites, "mean of sites", f"training time / {REFERENCE}'s"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for method, model in dict.fromkeys((row.method, row.model) for row in rows):
        same = [row for row in rows if (row.method, row.model) == (method, model)]
        dice = [f"{statistics.fmean(r.dice[s] for r in same if s in r.dice):.3f}" for s in sites]
        mean = f"{statistics.fmean(row.mean for row in same):.3f}"
        seconds = statistics.median(row.train_seconds for row in same)
        ratio = f"{seconds / statistics.median(reference):.2f}" if reference else "-"
        cells = [method, model, *dice, mean, ratio]
        lines.append("| " + " | ".join(cells) + " |")
    held_out = ", ".join(f"{site} {rows[0].cases[site]}" for site in sites)
    seeds = sorted({row.seed for row in rows})
    slowest = max(row.train_seconds for row in rows)
    lines += ["", f"Held-out cases: {held_out}. Seeds: {seeds}. Longest training: {slowest:.0f} s."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
