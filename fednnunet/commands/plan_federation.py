"""Plan from a federation file, through the two exchanges with the sites."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from rich.console import Console

from fednnunet.api.plan import plan
from fednnunet.commands.progress import bars
from fednnunet.commands.site_faults import show_fault
from fednnunet.errors import InputError
from fednnunet.federation.coordinator.stated import StatedCases
from fednnunet.federation.site.policy import SitePolicy, read_policy
from fednnunet.federation.site.wall import LEDGER
from fednnunet.federation.spec import Federation
from fednnunet.federation.wire import chain
from fednnunet.federation.workflows.simulation import SITES
from fednnunet.planning.plan import Plan
from fednnunet.text import plural


def plan_federation(
    path: Path,
    out: Path,
    *,
    planner: str | None,
    memory_gib: Sequence[float],
    without: Collection[str],
    console: Console,
) -> Plan:
    """Plan a federation into the folder `out`, with bars on the terminal; see `api.plan`."""
    if len(memory_gib) > 1:
        raise InputError(
            f"--memory-gib was given {len(memory_gib)} values",
            where="command line",
            mend="give one value; set that of a single site as sites.NAME.memory_gib in the file",
        )
    with bars(console) as progress:
        return plan(
            path,
            out,
            planner=planner,
            memory_gib=memory_gib[0] if memory_gib else None,
            without=without,
            progress=progress,
            on_fault=show_fault,
            on_note=lambda note: console.print(f"note: {note}", markup=False, highlight=False),
        )


def note_shares(stated: StatedCases, console: Console) -> None:
    """Print the number of cases that each site stated: by it a site counts in the plan."""
    for site, share in stated.shares.items():
        cases = plural(stated.cases[site], "case")
        line = f"site {site} stated {cases}: {share:.1%} of the fingerprint"
        console.print(line, markup=False, highlight=False)


def note_what_left(federation: Federation, out: Path, console: Console) -> None:
    """Print the number of bytes that each site sent, and the notes on the sites' policies."""
    for note in policy_notes(federation):
        console.print(f"note: {note}", markup=False, highlight=False)
    messages = 8 if federation.planning.secure else 2  # of the two exchanges
    for name in federation.sites:
        entries = chain.read(out / SITES / name / LEDGER)
        size = sum(int(str(entry["bytes"])) for entry in entries[-messages:])
        line = f"site {name} sent {size:,} bytes of sums, whatever its number of cases"
        console.print(line, markup=False, highlight=False)


def policy_notes(federation: Federation) -> tuple[str, ...]:
    """Notes for every reader of a report: the sites that share sums over very few cases."""
    usual = SitePolicy().min_cases
    notes = []
    for name, site in federation.sites.items():
        fewest = read_policy(site.policy, site.folder).min_cases
        if fewest < usual:
            number = f"only {fewest} cases" if fewest > 1 else "a single case"
            notes.append(f"site {name} may share sums over {number} (usual limit: {usual})")
    return tuple(notes)
