"""The coordinator's report of a run folder, made of what the sites' messages brought."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from fednnunet import records
from fednnunet.evaluation.charts import RoundPoint
from fednnunet.evaluation.contribution import CONTRIBUTION, Contributions
from fednnunet.evaluation.gains import Gain
from fednnunet.evaluation.report import Report, write_report
from fednnunet.evaluation.site_graph import GRAPH, SiteGraph
from fednnunet.federation.coordinator.history import RoundRecord, load_records
from fednnunet.federation.coordinator.pictures import read_pictures
from fednnunet.federation.coordinator.spent import spent_words
from fednnunet.federation.methods.catalogue import label
from fednnunet.federation.methods.settings import summary
from fednnunet.federation.spec import Federation
from fednnunet.federation.workflows.train import SCORES, TrainingScores
from fednnunet.planning.plan import read_plan
from fednnunet.text import plural
from fednnunet.version import VERSION

REPORT = "report.html"
_MODELS = ("personal", "global", "routed")  # whose pictures are shown, if there are several

T = TypeVar("T")


def report_run(folder: Path) -> Path:
    """Write `report.html` from what a training left in its run folder; returns its path.

    It holds figures, and the pictures that sites share. Each site has a report of its own, with its
    own cases, in its folder.
    """
    federation = records.read(Federation, folder / "federation.json")
    scores = records.read(TrainingScores, folder / SCORES)
    history = load_records(folder / "rounds")
    report = Report(
        title=f"{federation.task.name}: {plural(len(federation.sites), 'site')}",
        plan=read_plan(folder / "plan.json"),
        configuration=federation.training.configuration,
        facts=_facts(federation, scores, history),
        notes=(*_notes(federation, history), *scores.notes),
        history=history_points(history),
        models={n: dict(m.sites) for n, m in zip(scores.labels, scores.models, strict=True)},
        external=scores.external,
        graph=_if_there(SiteGraph, folder / GRAPH),
        contributions=_if_there(Contributions, folder / CONTRIBUTION),
        gains=_gains(scores),
        pictures=_pictures(folder),
    )
    write_report(folder / REPORT, report)
    return folder / REPORT


def _if_there(kind: type[T], path: Path) -> T | None:
    return records.read(kind, path) if path.is_file() else None


def _gains(scores: TrainingScores) -> dict[str, dict[str, Gain]]:
    """The gains over training alone, by model and site."""
    found: dict[str, dict[str, Gain]] = {}
    for model in scores.models:
        for site, gains in model.gains.items():
            for name, gain in gains.items():
                found.setdefault(name, {})[site] = gain
    return found


def _pictures(folder: Path) -> dict[str, dict[str, bytes]]:
    """The pictures by site and rank: of the site's own model where there is one."""
    found: dict[str, dict[str, bytes]] = {}
    known = [picture for picture in read_pictures(folder) if picture.model in _MODELS]
    for picture in sorted(known, key=lambda p: _MODELS.index(p.model)):
        found.setdefault(picture.site, {}).setdefault(picture.rank, picture.png)
    return found


def _facts(
    federation: Federation, scores: TrainingScores, history: tuple[RoundRecord, ...]
) -> tuple[tuple[str, str], ...]:
    training = federation.training
    rounds = plural(training.rounds, "round")
    cases = ", ".join(f"{site} {count}" for site, count in scores.training_cases.items())
    rows = [site for record in history for site in record.sites.values()]
    sent, received = sum(r.bytes_from_site for r in rows), sum(r.bytes_to_site for r in rows)
    each = max(len(rows), 1)
    privacy = "; ".join(spent_words(history))
    return (
        ("method", f"{label(training.method)}: {summary(training.method)}"),
        ("training", f"{rounds} of {training.iterations_per_round} iterations each"),
        ("recipe and seed", f"{training.recipe}, {training.seed}"),
        ("training cases", cases),
        ("model", _kept(scores)),
        ("sent by the sites", _traffic(sent, each)),
        ("received by the sites", _traffic(received, each)),
        *((("differential privacy", privacy),) if privacy else ()),
        ("written", f"{datetime.now(UTC):%Y-%m-%d} by fednnunet {VERSION}"),
    )


def _traffic(size: int, each: int) -> str:
    """Bytes of all rounds in words, and the mean of a round and site."""
    return f"{size / 2**20:,.1f} MiB in all rounds, {size / each / 2**20:,.2f} a round and site"


def _kept(scores: TrainingScores) -> str:
    """Of which rounds the scored models are."""
    rounds = [
        f"{label}: {', '.join(f'{site} {number}' for site, number in model.rounds.items())}"
        for label, model in zip(scores.labels, scores.models, strict=True)
        if model.keep == "best"
    ]
    if not rounds:
        return "of the last round"
    return "of the best round by Dice on these held-out cases; " + "; ".join(rounds)


def _notes(federation: Federation, history: tuple[RoundRecord, ...]) -> tuple[str, ...]:
    external = [name for name, site in federation.sites.items() if not site.trains]
    notes = []
    if external:
        notes.append(f"external sites, which only evaluate the global model: {', '.join(external)}")
    for record in history:
        for site, reason in record.refused.items():
            notes.append(f"round {record.round}: {site} gave no acceptable reply: {reason}")
        for site, reason in record.faults.items():
            notes.append(f"round {record.round}: {site}: {reason}")
    return tuple(notes)


def history_points(history: Sequence[RoundRecord]) -> tuple[RoundPoint, ...]:
    """What the chart of a training shows: loss and Dice of each site in each round."""
    return tuple(
        RoundPoint(
            round=record.round,
            site=name,
            loss=math.nan if site.loss is None else site.loss,
            dice=_mean(site.held_out or site.dice),
            phase="" if record.phase == "joint" else record.phase,
        )
        for record in history
        for name, site in record.sites.items()
    )


def _mean(values: Sequence[float | None]) -> float:
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else math.nan
