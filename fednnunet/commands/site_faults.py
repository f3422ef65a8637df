"""Faults on the terminals of the sites: in a simulation all of them are this one."""

from __future__ import annotations

from rich.console import Console

from fednnunet.federation.site.wall import SiteFault
from fednnunet.text import plural


def show_fault(fault: SiteFault) -> None:
    """Print a site's fault with all its details, and where the site's log is, to stderr."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    number = plural(fault.faults, "fault")
    console.print(f"site {fault.site}: {number}, details in {fault.log}", markup=False)
    console.print(fault.text, markup=False)
