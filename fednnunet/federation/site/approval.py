"""The plan that a person at the site has approved, as a digest in the site's own folder.

A plan decides what a site computes and what its updates can reveal, so a site prepares for none
that nobody at the site has approved. In a simulation the person who starts it approves its plan for
all sites (`workflows.simulation`).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from fednnunet import records
from fednnunet.errors import RefusalError
from fednnunet.planning.plan import Plan

FILE = "approved.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    """What was approved last: the SHA-256 of a plan's JSON."""

    plan: str


def plan_digest(plan: Plan) -> str:
    """SHA-256 of a plan's JSON as it is after one reading, with sorted keys and without spaces."""
    read = records.decode(Plan, records.encode(plan))  # whole numbers become floats where due
    content = json.dumps(records.encode(read), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()


def approve(base: Path, plan: Plan) -> None:
    """Write down that a person approves `plan` and no other; `base` is the site's own folder."""
    path = base / FILE
    if not path.is_file() or records.read(Approved, path).plan != plan_digest(plan):
        records.write(Approved(plan=plan_digest(plan)), path)


def check_approved(base: Path, plan: Plan) -> None:
    """Raise RefusalError for any plan but the approved one."""
    path = base / FILE
    if not path.is_file() or records.read(Approved, path).plan != plan_digest(plan):
        raise RefusalError(
            "nobody at the site has approved this plan",
            where=str(path),
            mend="read the plan, and approve it at the site if it may be used",
            advice="approve_plan",
        )
