"""fednnunet_audit: attack what a site sends, on its own cases; the report stays at the site."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from fednnunet.commands.cli import Opt, PlainConsole, parse, run_command
from fednnunet.errors import InputError
from fednnunet.text import choices

FOLDER = "audit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of fednnunet_audit."""

    run: Annotated[Path, Opt(positional=True)]
    """run folder of a training on this machine, with the site's cases prepared"""
    site: str
    """the site whose cases are attacked"""
    targets: int = 4
    """patches that are reconstructed"""
    steps: int = 300
    """steps of each reconstruction"""
    edge: int = 24
    """edge of these patches in voxels"""
    cases: int = 64
    """most cases of each group for membership, and of all for fingerprints"""


def main(argv: Sequence[str] | None = None) -> int:
    """Attack, and print where the report is."""
    options = parse(Options, argv, prog="fednnunet_audit", about=__doc__ or "")
    return run_command(lambda: _audit(options))


def _audit(options: Options) -> None:
    from fednnunet import records
    from fednnunet.audit.record import write_audit
    from fednnunet.audit.run import AuditSize, audit_site, differencing
    from fednnunet.federation.site.cases import training_folder
    from fednnunet.federation.site.policy import read_policy
    from fednnunet.federation.site.site import Site
    from fednnunet.federation.spec import Federation
    from fednnunet.preprocess.measure_site import measure_cases

    if min(options.targets, options.steps, options.edge, options.cases) < 1:
        raise InputError(
            "targets, steps, edge and cases are numbers above 0", mend="give 1 or more"
        )
    federation = records.read(Federation, options.run / "federation.json")
    if options.site not in federation.members:
        raise InputError(
            f"no site {options.site!r} trains in this run",
            where=str(options.run),
            mend=choices(options.site, federation.members),
        )
    base, console = options.run / "sites" / options.site, PlainConsole(highlight=False)
    prepared = Site(options.site, federation, base).prepared
    size = AuditSize(
        targets=options.targets, steps=options.steps, edge_vox=options.edge, cases=options.cases
    )
    places = {"global": options.run / "global", "personal": base / "personal"}
    bundles = {name: place for name, place in places.items() if (place / "plan.json").is_file()}
    found = audit_site(prepared, size, bundles=bundles, log=console.print)
    spec, task = federation.sites[options.site], federation.task
    console.print("differencing of two fingerprints")
    cases = training_folder(spec, task, site=options.site)[: options.cases]
    measured = measure_cases(cases, task)
    named = differencing(task, measured, read_policy(spec.policy, spec.folder))
    page = write_audit(base / FOLDER, replace(found, differencing=named))
    for line in found.verdicts:
        console.print(line)
    console.print(f"report, which stays at the site: {page}")
