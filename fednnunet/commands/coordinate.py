"""fednnunet_coordinate: plan and train a federation over a network; the same command resumes it."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from rich.console import Console

from fednnunet import records
from fednnunet.api.plan import write_planned
from fednnunet.commands.cli import Opt, PlainConsole, check_output, parse, run_command
from fednnunet.commands.network_extra import network_extra
from fednnunet.commands.plan_federation import note_shares
from fednnunet.commands.report_run import report_run
from fednnunet.commands.round_lines import RoundLines
from fednnunet.commands.run_status import RunStatus, site_states
from fednnunet.commands.status_server import serving
from fednnunet.commands.train import show_scores
from fednnunet.errors import InputError
from fednnunet.federation.coordinator.engine import Engine
from fednnunet.federation.coordinator.stated import SITES
from fednnunet.federation.engines.network.exchange import FOLDER, Desk
from fednnunet.federation.spec import Federation
from fednnunet.federation.workflows.plan import plan_together
from fednnunet.federation.workflows.train import check_runs, train_together
from fednnunet.files import write_text
from fednnunet.planning.plan import Plan, read_plan

PLAN = "plan.json"
FEDERATION = "federation.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of fednnunet_coordinate."""

    kit: Annotated[Path, Opt(positional=True)]
    """the coordinator's start-up kit"""
    federation: Annotated[Path, Opt(positional=True)]
    """federation file (TOML), the one that the kits were made from"""
    output: Annotated[Path, Opt(short="-o")]
    """run folder"""
    admin: Path | None = None
    """the admin's start-up kit; by default `admin` beside the coordinator's"""
    status_port: int | None = None
    """show how the run stands on a page at this port of 127.0.0.1; 0 takes a free one"""
    revoke: str = ""
    """admit this site no more, also while another coordinator runs with the kit; nothing else"""


def main(argv: Sequence[str] | None = None) -> int:
    """Plan and train, or go on where an earlier coordinator stopped."""
    options = parse(Options, argv, prog="fednnunet_coordinate", about=__doc__ or "")
    return run_command(lambda: _coordinate(options), private=True)


def _coordinate(options: Options) -> None:
    with network_extra():
        from fednnunet.federation.engines.network import certificates
        from fednnunet.federation.engines.network.flare.provision import use_store
    from fednnunet.federation.engines.network.coordinator import Kits, connected
    from fednnunet.federation.engines.network.federation_file import read_network_federation
    from fednnunet.federation.engines.network.kit import read_kit

    federation, network = read_network_federation(options.federation)
    kits = Kits(
        coordinator=options.kit.resolve(),
        admin=(options.admin or options.kit.resolve().parent / "admin").resolve(),
        kit=read_kit(options.kit, "coordinator"),
    )
    if read_kit(kits.admin, "admin").federation != kits.kit.federation:
        raise InputError(
            "the admin's kit is of another federation than the coordinator's",
            where=str(kits.admin),
            mend="give the kits that one call of fednnunet_provision made",
        )
    _check_same(options, federation)
    if options.revoke:
        _revoke(kits.coordinator, options.revoke, federation)
        return
    check_output(options.output)
    console = PlainConsole(highlight=False)
    left = certificates.days_left(options.kit)
    if left < certificates.WARN_DAYS:
        console.print(f"note: the kit's certificate expires in {left:.0f} days; make new kits")
    use_store(kits.coordinator, kits.coordinator / "store")
    signal.signal(signal.SIGTERM, _interrupt)
    desk = Desk(kits.coordinator / FOLDER)
    with (
        _status(options, federation, desk, console),
        connected(kits, federation, network) as engine,
    ):
        run_federation(engine, federation, options.output, console)


@contextmanager
def _status(
    options: Options, federation: Federation, desk: Desk, console: Console
) -> Iterator[None]:
    """Serve the status page meanwhile, if it is asked for."""
    if options.status_port is None:
        yield
        return
    sites = sorted(federation.sites)
    status = RunStatus(
        federation=federation,
        folder=options.output,
        states=lambda: site_states(desk, sites),
    )
    with serving(options.status_port, status.page) as port:
        console.print(f"status: http://127.0.0.1:{port}/")
        yield


def _revoke(kit: Path, site: str, federation: Federation) -> None:
    if site not in federation.sites:
        raise InputError(
            f"there is no site {site}", mend=f"choose one of: {', '.join(federation.sites)}"
        )
    desk = Desk(kit / FOLDER)
    write_text(desk.revoked_list, "\n".join(sorted(desk.revoked() | {site})))


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _check_same(options: Options, federation: Federation) -> None:
    """The kits are of one federation: of these sites, this host and this task."""
    from fednnunet.federation.engines.network.federation_file import read_network_federation
    from fednnunet.federation.engines.network.kit import FEDERATION as OWN

    agreed, network = read_network_federation(options.kit / OWN)
    parts = {
        "the sites": agreed.sites.keys() == federation.sites.keys(),
        "the task": agreed.task == federation.task,
        "network": network == federation.network,
    }
    if differing := [name for name, same in parts.items() if not same]:
        raise InputError(
            f"the kit was made for another federation: {', '.join(differing)} differ",
            where=str(options.federation),
            mend="give the federation file that the kits were made from, or make new kits",
        )


def run_federation(engine: Engine, federation: Federation, out: Path, console: Console) -> None:
    """Plan where there is no plan yet, train, evaluate, and write the report."""
    plan = _plan(engine, federation, out, console)
    check_runs(federation, plan, out)
    records.write(federation, out / FEDERATION)

    def progress(done: int, total: int, site: str) -> None:
        console.print(f"  {site} has answered ({done} of {total})")

    lines = RoundLines(console, traffic=True)
    train_together(engine, federation, plan, out, observer=lines, progress=progress)
    show_scores(out, console)
    console.print(f"report: {report_run(out)}")


def _plan(engine: Engine, federation: Federation, out: Path, console: Console) -> Plan:
    if (out / PLAN).exists():
        console.print(f"the plan is there already: {out / PLAN}")
        return read_plan(out / PLAN)
    console.print("the sites measure their cases")
    planned = plan_together(engine, federation)
    records.write(planned.stated, out / SITES)
    note_shares(planned.stated, console)
    write_planned(planned.plan, planned.fingerprint, planned.shapes, out)
    return planned.plan
