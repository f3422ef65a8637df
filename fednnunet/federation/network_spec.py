"""Where the coordinator of a federation over a network is: the table `[network]`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fednnunet.errors import InputError

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The coordinator's address, and the longest time that any exchange may take."""

    host: str
    """Name of the coordinator's machine as the sites know it."""
    port: int = 8102
    """Port on which the coordinator is reached; sites need no open port."""
    limit_hours: float = 48.0
    """No question waits longer for a site's answer, people's approval included. A round may have a
    shorter limit, `training.deadline_s`."""

    def __post_init__(self) -> None:
        if not _HOST.fullmatch(self.host):
            raise InputError(
                f"{self.host!r} is no host name",
                mend="give the name of the coordinator's machine, e.g. localhost for a trial",
            )
        if not 1024 <= self.port <= 65535:
            raise InputError(f"port is {self.port}", mend="give a port from 1024 to 65535")
        if not 0 < self.limit_hours <= 24 * 365:
            raise InputError(
                f"limit_hours is {self.limit_hours}", mend="give hours above 0, e.g. 48"
            )
