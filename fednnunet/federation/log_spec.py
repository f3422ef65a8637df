"""The coordinator's signed log of rounds: the table `[log]` of the federation file."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from fednnunet.errors import InputError
from fednnunet.text import shown

_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSpec:
    """Whose signatures count, and what an auditor is left. Without keys each side takes for good
    the key that it sees first."""

    coordinator_key: str = ""
    """The coordinator's public key, 64 hexadecimal digits, as `fednnunet_ledger RUN` shows it. With
    it a site refuses rounds that are not in a log with this signature."""
    site_keys: dict[str, str] = field(default_factory=dict)
    """The sites' public keys by site, as `fednnunet_ledger SITE` shows them. A site that names them
    here need not believe the coordinator which keys are the others'."""
    keep_replies: bool = False
    """Whether the coordinator keeps the replies of all rounds (`RUN/replies`), so that
    `fednnunet_ledger RUN --recompute` can do every merge again. Each takes as much room as the
    shared weights. It may be changed during the training."""

    def __post_init__(self) -> None:
        given = {"coordinator_key": self.coordinator_key} if self.coordinator_key else {}
        for name, key in {**given, **self.site_keys}.items():
            if not _KEY.fullmatch(key):
                raise InputError(
                    f"the key of {shown(name)} is {shown(key)}",
                    where="log",
                    mend="give the 64 digits that fednnunet_ledger shows, or leave it out",
                )
