"""A simulation: a federation whose sites are folders on this machine."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

from fednnunet.errors import FedNNUNetError, InputError, name_site, raise_all
from fednnunet.federation.engines.in_process import InProcessEngine
from fednnunet.federation.site.site import Site
from fednnunet.federation.site.wall import OnFault
from fednnunet.federation.spec import Federation
from fednnunet.planning.limits import check_limits
from fednnunet.planning.plan import Plan
from fednnunet.text import choices

SITES = "sites"


def simulation_engine(
    federation: Federation,
    folder: Path,
    *,
    without: Collection[str] = (),
    plan: Plan | None = None,
    prepared: Path | None = None,
    progress: Callable[[str, int, int, str], None] | None = None,
    on_fault: OnFault | None = None,
    on_iteration: Callable[[str, int, int], None] | None = None,
) -> InProcessEngine:
    """An engine over all sites but those in `without`; each works in `folder/sites/NAME`.

    A site prepares for no plan but one that a person there has approved: whoever starts a
    simulation approves its `plan` for all sites, here and nowhere else. With `prepared` the cases
    are prepared in `prepared/NAME`, for several runs of one plan to use.
    `progress`, `on_iteration` and `on_fault` are what the terminals of the sites show: the
    coordinator is told of a fault by its codes alone. Raises the faults of all sites that cannot be
    opened together.
    """
    unknown = set(without) - set(federation.sites)
    if unknown:
        raise InputError(
            f"there is no site {', '.join(sorted(unknown))}",
            mend=choices(min(unknown), federation.sites),
        )
    kept = {name: site for name, site in federation.sites.items() if name not in without}
    federation = replace(federation, sites=kept) if without else federation
    if plan:
        check_limits(plan)  # once, before any site does
    faults: list[FedNNUNetError] = []
    sites = {}
    for name in federation.sites:
        try:
            sites[name] = Site(
                name,
                federation,
                folder / SITES / name,
                prepared=prepared / name if prepared else None,
                progress=progress,
                on_fault=on_fault,
                on_iteration=on_iteration,
            )
            if plan:
                sites[name].approve(plan)
        except FedNNUNetError as error:
            name_site(error, name, federation.sites[name].folder)
            faults.append(error)
    raise_all("not all sites can be opened", faults)
    return InProcessEngine(sites)
