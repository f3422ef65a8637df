"""What a person at the site has approved, in the site's own folder: a plan and a number of rounds.

A plan decides what a site computes and what its updates can reveal, so a site prepares for none
that nobody at the site has approved. Every round takes more of the site's time and tells more of
its cases, so a federation file with more rounds than were approved needs a new approval. In a
simulation the person who starts it approves its plan for all sites (`workflows.simulation`).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from fednnunet import records
from fednnunet.errors import RefusalError
from fednnunet.federation.training_spec import Training
from fednnunet.planning.plan import Plan

FILE = "approved.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    """What was approved last: the SHA-256 of a plan's JSON, the rounds of all phases, and the
    SHA-256 of given first weights (see `Training.start`)."""

    plan: str
    rounds: int = 0
    start: str = ""


def plan_digest(plan: Plan) -> str:
    """SHA-256 of a plan's JSON as it is after one reading, with sorted keys and without spaces."""
    read = records.decode(Plan, records.encode(plan))  # whole numbers become floats where due
    content = json.dumps(records.encode(read), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()


def approve_training(base: Path, plan: Plan, training: Training) -> None:
    """Write down that a person approves `plan` for a training, as the federation file has it."""
    approve(base, plan, rounds=training.all_rounds, start=training.start)


def check_training_approved(base: Path, plan: Plan, training: Training) -> None:
    """Raise RefusalError unless this plan is approved for this training; see `check_approved`."""
    check_approved(base, plan, rounds=training.all_rounds, start=training.start)


def approve(base: Path, plan: Plan, *, rounds: int, start: str = "") -> None:
    """Write down that a person approves `plan` and no other, and at most so many rounds.

    `base` is the site's own folder, `start` the digest of given first weights.
    """
    path = base / FILE
    approved = Approved(plan=plan_digest(plan), rounds=rounds, start=start)
    if not path.is_file() or records.read(Approved, path) != approved:
        records.write(approved, path)


def check_approved(base: Path, plan: Plan, *, rounds: int, start: str = "") -> None:
    """Raise RefusalError for any plan but the approved one, more rounds, or another start."""
    path = base / FILE
    approved = records.read(Approved, path) if path.is_file() else Approved(plan="")
    if approved.plan != plan_digest(plan):
        raise RefusalError(
            "nobody at the site has approved this plan",
            where=str(path),
            mend="read the plan, and approve it at the site if it may be used",
            advice="approve_plan",
        )
    if approved.rounds < rounds:
        raise RefusalError(
            f"{approved.rounds} rounds were approved at the site, and its federation file has "
            f"{rounds}",
            where=str(path),
            mend="approve the plan at the site again if it may be trained for so many rounds",
            advice="approve_rounds",
        )
    if approved.start != start:
        raise RefusalError(
            "nobody at the site has approved a start from these weights",
            where=str(path),
            mend="approve the plan at the site again if it may start from them",
            advice="approve_plan",
        )
