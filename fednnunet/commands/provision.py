"""fednnunet_provision: make the start-up kits of a federation's sites and its coordinator."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from rich.console import Console

from fednnunet.commands.cli import Opt, PlainConsole, check_output, parse, run_command
from fednnunet.commands.network_extra import network_extra
from fednnunet.errors import InputError
from fednnunet.federation.spec import Federation
from fednnunet.text import choices


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of fednnunet_provision."""

    federation: Annotated[Path, Opt(positional=True)]
    """federation file (TOML) with the sites' names, [network] host and port, and no folders"""
    output: Annotated[Path, Opt(short="-o")]
    """folder for the kits, which must not exist, or be empty; with --request and --complete the
    folder of a site's private key"""
    authority: Path | None = None
    """make further kits of a federation, with its folder `authority`: to renew or to add sites"""
    zip: bool = False
    """make each site's kit one file under a password, which is shown once"""
    approve: tuple[Path, ...] = ()
    """requests (NAME.csr, with commas between) of sites whose private keys stay with them"""
    request: str = ""
    """at a site of this name: make a private key, and the request NAME.csr for the coordinator"""
    complete: Path | None = None
    """at a site: put the private key into this kit, which was made for the site's request"""


def main(argv: Sequence[str] | None = None) -> int:
    """Make the kits, or a site's part of its own."""
    options = parse(Options, argv, prog="fednnunet_provision", about=__doc__ or "")
    return run_command(lambda: _provision(options), private=True)


def _provision(options: Options) -> None:
    with network_extra():
        from fednnunet.federation.engines.network.certificate_request import complete
    from fednnunet.federation.engines.network.federation_file import read_network_federation

    federation, _ = read_network_federation(options.federation)
    check_output(options.output)
    console = PlainConsole(highlight=False, soft_wrap=True)
    if options.request:
        _request(options, federation, console)
    elif options.complete:
        complete(options.complete, options.output)
        console.print(f"the kit is complete: fednnunet_site {options.complete} --data FOLDER")
    else:
        _make(options, console)


def _request(options: Options, federation: Federation, console: Console) -> None:
    from fednnunet.federation.engines.network.certificate_request import make_request

    if options.request not in federation.sites:
        raise InputError(
            f"the federation file names no site {options.request}",
            where="--request",
            mend=choices(options.request, federation.sites),
        )
    options.output.mkdir(parents=True, exist_ok=True)
    made = make_request(options.request, options.output)
    console.print(
        f"send {options.output / options.request}.csr to the coordinator; the key beside it stays "
        f"here.\nTell the coordinator by telephone what the request must show:\n{made.fingerprint}"
    )


def _make(options: Options, console: Console) -> None:
    with network_extra():
        from fednnunet.federation.engines.network.certificate_request import read_request
        from fednnunet.federation.engines.network.flare.provision import Wanted, make_kits
    from fednnunet.federation.engines.network.federation_file import read_network_federation

    federation, network = read_network_federation(options.federation)
    requests = tuple(read_request(path) for path in options.approve)
    _check_requests([request.site for request in requests], federation)
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
        requests=requests,
    )
    kits = make_kits(wanted, options.output.resolve(), options.authority)
    for request in requests:
        console.print(
            f"the request of {request.site} was approved; its staff must have said to you:\n"
            f"{request.fingerprint}"
        )
    for kit in kits:
        _hand_out(kit, options.zip and kit.name in federation.sites, console)
    authority = options.authority or options.output / "authority"
    console.print(
        f"{authority} can make further kits: keep it on a disk that is not connected.\n"
        "Give each site its kit by a way that nobody else can read, unless its private key is "
        "with the site already."
    )


def _check_requests(sites: Sequence[str], federation: Federation) -> None:
    for site in sites:
        if site not in federation.sites or sites.count(site) > 1:
            raise InputError(
                f"there are {sites.count(site)} requests of {site}"
                if site in federation.sites
                else f"a request is of {site}, which is no site of the federation",
                where="--approve",
                mend="give one request for each site that has its own private key",
            )


def _hand_out(kit: Path, zipped: bool, console: Console) -> None:
    """Say where a kit is; one that is to be zipped is a file then, and no folder."""
    if not zipped:
        console.print(f"kit: {kit}")
        return
    with network_extra():
        from fednnunet.federation.engines.network.kit_zip import new_password, zip_kit

    password, path = new_password(), kit.with_name(f"{kit.name}.zip")
    zip_kit(kit, path, password)
    shutil.rmtree(kit)
    console.print(f"kit: {path}, password {password}; send the password another way")
