"""Labelled and unlabelled sites in turn."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from fednnunet.federation.coordinator.alternation import has_labels, sites_in_turn
from fednnunet.federation.coordinator.rounds import run_rounds
from fednnunet.labels.settings import PseudoLabels
from tests.federation.fakes import INITIAL, MEMBERS, SITES, PretendEngine, a_run

ALTERNATE = PseudoLabels(unlabelled_sites="alternate", start=0.5)


class PartlyLabelled(PretendEngine):
    """Some of the sites have no labels."""

    def __init__(self, without: Iterable[str]) -> None:
        super().__init__()
        self.without, self.rounds = set(without), dict[int, set[str]]()

    def reply(self, site, invite):
        self.rounds.setdefault(invite.round, set()).add(site)
        reply = super().reply(site, invite)
        return replace(reply, unlabelled=reply.cases if site in self.without else 0)


def asked(folder, without, **settings) -> list[str]:
    """Who was asked in each round."""
    engine = PartlyLabelled(without)
    run = a_run(folder, rounds=8, **settings)
    run_rounds(engine, run, INITIAL, MEMBERS, lambda record: None)
    return ["".join(sorted(engine.rounds[number])) for number in sorted(engine.rounds)]


def test_rounds_by_hand(tmp_path):
    found = asked(tmp_path, "bc", pseudo_labels=ALTERNATE)
    assert found == ["abc", "a", "a", "a", "a", "bc", "a", "bc"]


@pytest.mark.parametrize(
    ("without", "settings"),
    [("bc", {}), ("bc", {"pseudo_labels": PseudoLabels()}), ("", {"pseudo_labels": ALTERNATE})],
)
def test_otherwise_all_are_asked(tmp_path, without, settings):
    assert asked(tmp_path, without, **settings) == ["abc"] * 8


def test_a_site_that_was_not_heard_yet_is_asked_in_every_round():
    assert has_labels(()) == {}
    assert sites_in_turn(SITES, 5, 8, (), ALTERNATE) == SITES
