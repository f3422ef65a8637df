"""The same federation in one process, with just the sites that took part in each recorded round."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from fednnunet import records
from fednnunet.federation.coordinator.engine import Answer, Deadline
from fednnunet.federation.coordinator.history import load_records
from fednnunet.federation.engines.in_process import InProcessEngine
from fednnunet.federation.spec import Federation
from fednnunet.federation.wire.messages import Message, TrainInvite
from fednnunet.federation.workflows.simulation import simulation_engine
from fednnunet.federation.workflows.train import train_together
from fednnunet.planning.plan import read_plan


class Replay:
    """Asks a site to train only in rounds in which it took part; `recorded` is a run folder."""

    def __init__(self, engine: InProcessEngine, recorded: Path) -> None:
        self._engine = engine
        self._sites = {record.round - 1: record.sites for record in load_records(recorded)}

    @property
    def sites(self) -> tuple[str, ...]:
        return self._engine.sites

    def ask(self, invites: Mapping[str, Message], deadline: Deadline) -> Iterator[Answer]:
        asked = {
            site: invite
            for site, invite in invites.items()
            if not isinstance(invite, TrainInvite) or site in self._sites[invite.round]
        }
        return self._engine.ask(asked, deadline)


def replay(planned: Path, recorded: Path) -> Path:
    """Train the federation of `planned` anew as `recorded` had it; returns its run folder."""
    federation = records.read(Federation, planned / "federation.json")
    training = replace(federation.training, grace_s=0.0, exchange_grace_s=0.0)
    federation = replace(federation, training=training)
    plan = read_plan(planned / "plan.json")
    engine = simulation_engine(federation, planned, plan=plan)
    train_together(
        Replay(engine, recorded / "rounds"),
        federation,
        plan,
        planned,
        observer=lambda run, record: None,
    )
    return planned
