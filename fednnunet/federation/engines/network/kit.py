"""A start-up kit: the folder that lets one participant connect, and what our programs add to it.

kit.json          who this is, and of which federation
federation.toml   at a site and the coordinator: what was agreed
startup/          NVFlare's: certificate, private key, whom to connect to
local/            NVFlare's: what this participant permits
exchange/         messages under way
work/             at a site: its own states, ledger, log and report
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from fednnunet import records
from fednnunet.errors import InputError

FILE = "kit.json"
FEDERATION = "federation.toml"
SETTINGS = "settings.json"
Role = Literal["coordinator", "site", "admin"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kit:
    """`kit.json`. `federation` is the SHA-256 of the root certificate, the same in all its kits."""

    role: Role
    name: str
    federation: str
    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`settings.json`: where a site's things are: its kit, cases, policy and working folder."""

    kit: Path
    data: Path
    work: Path
    policy: Path | None = None


def program_version() -> str:
    """The version of this program; coordinator and sites must have the same."""
    try:
        return version("fednnunet")
    except PackageNotFoundError:
        return "unknown"


def read_kit(folder: Path, role: Role) -> Kit:
    """The kit in a folder; raises InputError where it is none, or one of another role."""
    path = folder / FILE
    if not path.is_file():
        raise InputError(
            f"{folder.name} is no start-up kit: it has no {FILE}",
            where=str(folder),
            mend="give the folder that fednnunet_provision made for this participant",
        )
    kit = records.read(Kit, path)
    if kit.role != role:
        raise InputError(
            f"the kit is of the {kit.role} {kit.name}, not of a {role}",
            where=str(folder),
            mend=f"give the kit that fednnunet_provision made for a {role}",
        )
    return kit
