"""What a site's program does now, for `fednnunet_site --watch`: a file in its working folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fednnunet import records

FILE = "state.json"
PAUSED = "paused"
"""A file of this name in the working folder lets a site begin no new work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteState:
    """`state.json`: when the coordinator answered last (Unix time, s; 0 for never), how many
    requests wait, what is done now, and what is wrong, in words."""

    contact: float
    waiting: int
    doing: str = ""
    trouble: str = ""


def write_state(work: Path, state: SiteState) -> None:
    """Write the state."""
    records.write(state, work / FILE)


def read_state(work: Path) -> SiteState | None:
    """The state that was written last, if any."""
    path = work / FILE
    return records.read(SiteState, path) if path.is_file() else None
