"""How a training over a network stands: of its run folder, as the report, and of its sites."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from fednnunet.commands.report_run import history_points
from fednnunet.commands.round_lines import answered, time_left, traffic
from fednnunet.evaluation.status import RoundStatus, SiteStatus, Status, status_page
from fednnunet.federation.coordinator.history import RoundRecord, load_records
from fednnunet.federation.engines.network.exchange import Desk
from fednnunet.federation.methods.catalogue import label
from fednnunet.federation.spec import Federation
from fednnunet.text import plural

_ROUNDS = 20  # that the page lists
_FRESH_S = 2.0  # for so long one page serves all who ask


@dataclass(kw_only=True)
class RunStatus:
    """Makes the page of the run in `folder`; `states` gives each site's state in words."""

    federation: Federation
    folder: Path
    states: Callable[[], Mapping[str, str]]
    begun: datetime = field(default_factory=datetime.now)
    _page: str = ""
    _made: float = -_FRESH_S

    def page(self) -> str:
        """The page as HTML; it is at most some seconds old."""
        now = time.monotonic()
        if now - self._made >= _FRESH_S:
            self._page, self._made = status_page(self.status()), now
        return self._page

    def status(self) -> Status:
        """What the page shows now."""
        training = self.federation.training
        run, history = self._running()
        sent, received = traffic(history)
        last = history[-1] if history else None
        facts = [
            ("method", label(training.runs[run])),
            ("round", f"{last.round} of {last.of}" if last else "none is done yet"),
            ("time left", time_left(history) or ("none" if last else "not known yet")),
            ("sent to the sites", sent),
            ("received from them", received),
            ("this coordinator since", f"{self.begun:%Y-%m-%d %H:%M}"),
            ("page of", f"{datetime.now():%H:%M:%S}"),
        ]
        states = self.states()
        return Status(
            title=f"{self.federation.task.name}: {plural(len(states), 'site')}, training",
            facts=tuple(facts),
            sites=tuple(_site(name, state, history) for name, state in sorted(states.items())),
            rounds=tuple(_round(record) for record in reversed(history[-_ROUNDS:])),
            history=history_points(history),
        )

    def _running(self) -> tuple[str, tuple[RoundRecord, ...]]:
        """The name of the training that was begun last, and its rounds."""
        for name in reversed(tuple(self.federation.training.runs)):
            if found := load_records(self.folder / name / "rounds"):
                return name, found
        return "", ()


def site_states(desk: Desk, sites: Sequence[str]) -> dict[str, str]:
    """What each site does, as the exchange of messages shows it."""
    awaited, alive, revoked = desk.awaited(), desk.alive(), desk.revoked()

    def state(site: str) -> str:
        if site in revoked:
            return "admitted no more"
        if site in awaited:
            return "works on a request" if site in alive else "awaited, not connected"
        return "connected" if site in alive else "not connected"

    return {site: state(site) for site in sites}


def _site(name: str, state: str, history: Sequence[RoundRecord]) -> SiteStatus:
    last = next((record for record in reversed(history) if name in record.sites), None)
    if last is None:
        return SiteStatus(name=name, state=state)
    row = last.sites[name]
    sent, received = traffic(history, name)
    dice = [value for value in row.held_out or row.dice if value is not None]
    return SiteStatus(
        name=name,
        state=state,
        round=str(last.round),
        cases=str(row.cases),
        loss="not stated" if row.loss is None else f"{row.loss:.4f}",
        dice=f"{sum(dice) / len(dice):.3f}" if dice else "n/a",
        seconds=f"{row.seconds:.1f}",
        sent=sent,
        received=received,
    )


def _round(record: RoundRecord) -> RoundStatus:
    sent, received = traffic([record])
    return RoundStatus(
        number=record.round,
        phase=record.phase,
        answered=answered(record),
        seconds=record.seconds,
        sent=sent,
        received=received,
        without=record.refused,
    )
