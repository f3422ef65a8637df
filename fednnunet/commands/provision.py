"""fednnunet_provision: make the start-up kits of a federation's sites and its coordinator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fednnunet.commands.cli import Opt, PlainConsole, check_output, parse, run_command
from fednnunet.commands.network_extra import network_extra
from fednnunet.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of fednnunet_provision."""

    federation: Annotated[Path, Opt(positional=True)]
    """federation file (TOML) with the sites' names, [network] host and port, and no folders"""
    output: Annotated[Path, Opt(short="-o")]
    """folder for the kits; it must not exist, or be empty"""
    authority: Path | None = None
    """make further kits of a federation, with its folder `authority`: to renew or to add sites"""


def main(argv: Sequence[str] | None = None) -> int:
    """Make the kits."""
    options = parse(Options, argv, prog="fednnunet_provision", about=__doc__ or "")
    return run_command(lambda: _provision(options), private=True)


def _provision(options: Options) -> None:
    with network_extra():
        from fednnunet.federation.engines.network.flare.provision import Wanted, make_kits
    from fednnunet.federation.engines.network.federation_file import read_network_federation

    federation, network = read_network_federation(options.federation)
    check_output(options.output)
    if options.output.exists() and any(options.output.iterdir()):
        raise InputError(
            "the folder for the kits is not empty",
            where=str(options.output),
            mend="choose another folder: kits that were handed out must not be replaced by chance",
        )
    options.output.mkdir(parents=True, exist_ok=True)
    wanted = Wanted(
        sites=tuple(sorted(federation.sites)),
        host=network.host,
        port=network.port,
        federation=options.federation.read_text(encoding="utf-8"),
    )
    kits = make_kits(wanted, options.output.resolve(), options.authority)
    console = PlainConsole(highlight=False)
    for kit in kits:
        console.print(f"kit: {kit}")
    authority = options.authority or options.output / "authority"
    console.print(
        f"{authority} can make further kits: keep it on a disk that is not "
        "connected.\nGive each site its kit by a way that nobody else can read: it holds the "
        "site's private key."
    )
