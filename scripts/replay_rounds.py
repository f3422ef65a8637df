"""The same federation in one process, with just the sites that took part in each recorded round.

Used by `kill_network.py` and the tests, which compare the weights bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from fednnunet import records
from fednnunet.federation.coordinator.engine import Answer, Deadline
from fednnunet.federation.coordinator.history import load_records
from fednnunet.federation.engines.in_process import InProcessEngine
from fednnunet.federation.spec import Federation
from fednnunet.federation.wire.messages import EvaluateInvite, Message, TrainInvite
from fednnunet.federation.workflows.simulation import simulation_engine
from fednnunet.federation.workflows.train import train_together
from fednnunet.planning.plan import read_plan


class _TrainedError(Exception):
    """All rounds are done: what follows is not compared."""


class Replay:
    """Asks a site to train only in rounds in which it took part, and ends before the evaluation.

    `recorded` is the folder of a run's rounds.
    """

    def __init__(self, engine: InProcessEngine, recorded: Path) -> None:
        self._engine = engine
        self._sites = {record.round - 1: record.sites for record in load_records(recorded)}

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of the sites, sorted."""
        return self._engine.sites

    def ask(self, invites: Mapping[str, Message], deadline: Deadline) -> Iterator[Answer]:
        """Ask those who took part."""
        if any(isinstance(invite, EvaluateInvite) for invite in invites.values()):
            raise _TrainedError
        asked = {
            site: invite
            for site, invite in invites.items()
            if not isinstance(invite, TrainInvite) or site in self._sites[invite.round]
        }
        return self._engine.ask(asked, deadline)


def replay(planned: Path, recorded: Path, out: Path) -> tuple[str, ...]:
    """Train the federation planned in `planned` anew in `out`, as the run `recorded` had it.

    Returns the names of the checkpoints that differ from the recorded ones; none if all is equal.
    """
    federation = records.read(Federation, planned / "federation.json")
    training = replace(federation.training, grace_s=0.0, exchange_grace_s=0.0, deadline_s=0.0)
    federation = replace(federation, training=training)
    plan = read_plan(planned / "plan.json")
    engine = Replay(simulation_engine(federation, out, plan=plan), recorded / "rounds")
    with suppress(_TrainedError):
        train_together(engine, federation, plan, out, observer=lambda run, record: None)
    names = {path.name for run in (recorded, out) for path in run.glob("rounds/*.safetensors")}
    return tuple(name for name in sorted(names) if _bytes(recorded, name) != _bytes(out, name)) or (
        () if names else ("no checkpoint",)
    )


def _bytes(run: Path, name: str) -> bytes:
    path = run / "rounds" / name
    return path.read_bytes() if path.is_file() else b""
