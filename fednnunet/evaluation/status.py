"""A page that shows how a training over a network stands while it runs: figures, and no case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fednnunet.evaluation.charts import RoundPoint, history_chart
from fednnunet.evaluation.page import fill_page, svg_source
from fednnunet.evaluation.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteStatus:
    """One site: its state in words, and its figures of the last round in which it answered.

    Figures are texts, "" where there are none yet.
    """

    name: str
    state: str
    round: str = ""
    cases: str = ""
    loss: str = ""
    dice: str = ""
    seconds: str = ""
    sent: str = ""
    received: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundStatus:
    """One round: who answered, who did not and why, how long it took, and its bytes, as texts."""

    number: int
    phase: str
    answered: str
    seconds: float
    sent: str
    received: str
    without: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """All that the page shows. `facts` are pairs of a word and its value."""

    title: str
    facts: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    sites: tuple[SiteStatus, ...] = ()
    rounds: tuple[RoundStatus, ...] = ()
    history: tuple[RoundPoint, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """None, as long as the training runs."""
        return Verdict()


def status_page(status: Status) -> str:
    """The page as HTML. It refers to nothing but itself and runs no script."""
    chart = svg_source(history_chart(status.history)) if status.history else ""
    return fill_page("status.html.j2", page=status, status=status, history_chart=chart)
