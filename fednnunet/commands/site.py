"""fednnunet_site: a hospital takes part in a federation over a network."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated

from rich.console import Console

from fednnunet import records
from fednnunet.commands.cli import Opt, PlainConsole, parse, run_command
from fednnunet.commands.network_extra import network_extra
from fednnunet.commands.site_watch import watch
from fednnunet.errors import InputError
from fednnunet.files import write_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of fednnunet_site."""

    kit: Annotated[Path, Opt(positional=True)]
    """the site's start-up kit: a folder, or the zip file that it came as"""
    data: Path | None = None
    """the site's folder of cases in nnU-Net's raw layout"""
    policy: Path | None = None
    """the site's own limits (site.toml); by default that in the folder of cases"""
    work: Path | None = None
    """the site's working folder: states, ledger, log; by default `work` in the kit"""
    once: bool = False
    """end when the federation has ended, instead of waiting for the next training"""
    approve: bool = False
    """show what waits for approval, and ask whether it is approved"""
    yes: bool = False
    """with --approve: approve without asking"""
    watch: bool = False
    """show what the site does, what has left it, load and time left, until Ctrl-C"""
    pause: bool = False
    """let the site that runs begin no new work"""
    resume: bool = False
    """let a paused site go on"""
    leave: bool = False
    """end the site that runs; it may be started again"""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve, or steer the site that serves."""
    options = parse(Options, argv, prog="fednnunet_site", about=__doc__ or "")
    return run_command(lambda: _site(options), private=True)


def _site(options: Options) -> None:
    from fednnunet.federation.engines.network.kit import read_kit
    from fednnunet.federation.engines.network.service import LEAVE
    from fednnunet.federation.engines.network.state import PAUSED

    console = PlainConsole(highlight=False, soft_wrap=True)
    if options.kit.suffix == ".zip":
        options = replace(options, kit=_unpack(options.kit, console))
    read_kit(options.kit, "site")
    work = options.work or options.kit / "work"
    if options.approve:
        _approve(options, work, console)
    elif options.watch:
        watch(options.kit, work, console)
    elif options.pause:
        write_text(work / PAUSED, "")
        console.print("the site begins no new work; --resume lets it go on")
    elif options.resume:
        (work / PAUSED).unlink(missing_ok=True)
        console.print("the site goes on")
    elif options.leave:
        write_text(work / LEAVE, "")
        console.print("the site ends; what it has learned stays in its working folder")
    else:
        _serve(options, work, console)


def _unpack(path: Path, console: Console) -> Path:
    """Ask for the password of a kit that is a zip file, and unpack it beside the file."""
    with network_extra():
        from fednnunet.federation.engines.network.kit_zip import unzip_kit

    if not path.is_file():
        raise InputError(
            f"there is no file {path.name}", where=str(path), mend="give the path of the kit"
        )
    folder = unzip_kit(path, console.input("password of the kit: ", password=True).strip())
    console.print(f"the kit is unpacked: from now on give {folder}, and delete {path.name}")
    return folder


def _serve(options: Options, work: Path, console: Console) -> None:
    with network_extra():
        from fednnunet.federation.engines.network import certificates
    from fednnunet.federation.engines.network.kit import SETTINGS, Settings, read_kit
    from fednnunet.federation.engines.network.service import Places, SiteService

    kit = read_kit(options.kit, "site")
    data = options.data
    if data is None or not data.is_dir():
        raise InputError(
            f"there is no folder {data}" if data else "no folder of cases is given",
            where="--data",
            mend="give the folder with imagesTr, labelsTr and dataset.json",
        )
    if options.policy and not options.policy.is_file():
        raise InputError(
            "the policy file is missing",
            where=str(options.policy),
            mend="correct the path given as --policy",
        )
    certificates.check_key(options.kit)
    left = certificates.days_left(options.kit)
    if left < certificates.WARN_DAYS:
        console.print(f"note: the kit's certificate expires in {left:.0f} days; ask for a new kit")
    folder = options.kit.resolve()
    places = Places(kit=folder, work=work.resolve())
    settings = Settings(
        kit=folder,
        data=data.resolve(),
        work=places.work,
        policy=options.policy.resolve() if options.policy else None,
    )
    records.write(settings, folder / SETTINGS)
    service = SiteService(
        places=places,
        say=lambda text: console.print(f"{datetime.now():%H:%M:%S} {text}"),
        check=lambda: certificates.why_unreachable(folder, kit),
        until_finished=options.once,
    )
    console.print(f"site {kit.name}: coordinator {kit.host}:{kit.port}, working folder {work}")
    signal.signal(signal.SIGTERM, _interrupt)
    service.run()


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _approve(options: Options, work: Path, console: Console) -> None:
    from fednnunet.federation.engines.network.federation_file import read_network_federation
    from fednnunet.federation.engines.network.kit import FEDERATION
    from fednnunet.federation.site import approval, consent

    request = consent.read_request(work)
    if request is None:
        console.print("nothing waits for approval")
        return
    federation, _ = read_network_federation(options.kit / FEDERATION)
    for line in consent.in_words(federation, request.plan, request.policy):
        console.print(line)
    for reason in request.reasons:
        console.print(f"you are asked since {reason}")
    if not options.yes and console.input("approve? (yes/no) ").strip().lower() != "yes":
        console.print("not approved; the request waits")
        return
    approval.approve_training(work, request.plan, federation.training)
    console.print("approved: the site goes on")
