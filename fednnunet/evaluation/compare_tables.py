"""A comparison as files: a Markdown table, JSON and CSV for other programs, scores per case."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

from fednnunet import records
from fednnunet.evaluation.metrics import METRICS
from fednnunet.evaluation.report import left_out
from fednnunet.evaluation.trials import Entry, Trial
from fednnunet.files import write_text
from fednnunet.text import cell
from fednnunet.text import markdown as escaped

_COLUMNS = ("method", "model", "seed", "site", "cases", "dice", "hd95_mm", "worst_dice")


def markdown(found: Sequence[Entry], *, reference: str) -> str:
    """A line per method and model with means over seeds; times relative to `reference`."""
    sites = sorted({site for entry in found for site in entry.dice})
    head = [
        "method",
        "model",
        *map(escaped, sites),
        "mean of sites",
        "over seeds ±",
        "spread of sites",
    ]
    head += ["worst site", "worst case", "MiB sent", "MiB received", f"time / {reference}'s"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += [
        "| " + " | ".join(_cells(e, sites, seconds_of(found, reference))) + " |" for e in found
    ]
    counts = {site: sum(1 for key in _cases(found) if key[0] == site) for site in sites}
    seeds = sorted({seed for entry in found for seed in entry.seeds})
    longest = max((entry.seconds for entry in found), default=0.0)
    listed = ", ".join(f"{escaped(site)} {count}" for site, count in counts.items())
    lines += ["", f"Held-out cases: {listed}. Seeds: {seeds}. Longest training: {longest:.0f} s."]
    without = left_out({site for entry in found for site in entry.external}, sites)
    lines[-1] += f" Means over sites, spread and worst site {without}." if without else ""
    return "\n".join(lines) + "\n"


def seconds_of(found: Sequence[Entry], method: str) -> float:
    """The training time of a method; NaN if it is not among the entries."""
    seconds = [entry.seconds for entry in found if entry.method == method]
    return statistics.median(seconds) if seconds else math.nan


def write_rows(trials: Sequence[Trial], folder: Path) -> None:
    """Write `rows.json` (a row per trial), `rows.csv` (per trial and site) and `cases.csv`."""
    records.write({"rows": [_row(trial) for trial in trials]}, folder / "rows.json")
    site_rows = [row for trial in trials for row in _site_rows(trial)]
    _write_csv(folder / "rows.csv", _COLUMNS, site_rows)
    columns = ("method", "model", "seed", "site", "case", "target", *METRICS)
    _write_csv(folder / "cases.csv", columns, (row for t in trials for row in _case_rows(t)))


def _cells(entry: Entry, sites: Sequence[str], reference_s: float) -> list[str]:
    summary, worst = entry.summary, entry.worst_case
    return [
        entry.method,
        entry.model,
        *(_number(entry.dice.get(site, math.nan)) for site in sites),
        _number(summary.mean),
        _number(entry.seed_spread),
        _number(summary.spread),
        f"{_number(summary.worst)} {escaped(summary.worst_site)}",
        f"{_number(worst.dice)} {escaped(worst.site)}/{escaped(worst.case)}" if worst else "-",
        _mib(entry.bytes_sent),
        _mib(entry.bytes_received),
        _number(entry.seconds / reference_s if reference_s else math.nan, 2),
    ]


def _mib(size: float | None) -> str:
    return "-" if size is None else f"{size / 2**20:.1f}"


def _row(trial: Trial) -> dict[str, object]:
    sites = trial.sites
    return {
        "method": trial.method,
        "model": trial.model,
        "seed": trial.seed,
        "dice": {site: _defined(scores.mean("dice")) for site, scores in sites.items()},
        "hd95_mm": {site: _defined(scores.mean("hd95_mm")) for site, scores in sites.items()},
        "cases": {site: scores.cases for site, scores in sites.items()},
        "bytes_sent": trial.bytes_sent,
        "bytes_received": trial.bytes_received,
        "train_seconds": trial.seconds,
    }


def _site_rows(trial: Trial) -> Iterable[tuple[object, ...]]:
    for site, scores in trial.sites.items():
        dice = [case.dice for case in trial.cases[site] if not math.isnan(case.dice)]
        numbers = [scores.mean("dice"), scores.mean("hd95_mm"), min(dice, default=math.nan)]
        head = (trial.method, trial.model, trial.seed, site, scores.cases)
        yield (*head, *(_text(number) for number in numbers))


def _case_rows(trial: Trial) -> Iterable[tuple[object, ...]]:
    for site in sorted(trial.cases):
        for case in trial.cases[site]:
            for target, score in case.targets.items():
                numbers = [_text(getattr(score, metric)) for metric in METRICS]
                head = (trial.method, trial.model, trial.seed, site, case.case, target)
                yield (*head, *numbers)


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([cell(column) for column in columns])
    writer.writerows([cell(value) for value in row] for row in rows)
    write_text(path, out.getvalue())


def _cases(found: Iterable[Entry]) -> set[tuple[str, str]]:
    return {key for entry in found for key in entry.cases}


def _number(value: float, digits: int = 3) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else value


def _text(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"
