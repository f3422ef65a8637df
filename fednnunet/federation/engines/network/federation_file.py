"""The federation file of a network: who takes part and where the coordinator is, and no folders."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fednnunet.errors import FedNNUNetError, InputError, raise_all
from fednnunet.federation.network_spec import Network
from fednnunet.federation.spec import Federation, decode_federation

RESERVED = ("coordinator", "admin", "authority", "server")


def read_network_federation(path: Path) -> tuple[Federation, Network]:
    """Read a federation file; raises all that makes it none of a network together."""
    federation = decode_federation(path)
    faults: list[FedNNUNetError] = []
    for name, site in federation.sites.items():
        if site.folder != Path() or site.policy is not None:
            faults.append(
                _fault(
                    f"the file names a folder or policy of site {name}",
                    f"sites.{name}",
                    "take it out: the site gives both to fednnunet_site, and nobody else knows "
                    "them",
                )
            )
        if name.lower() in RESERVED:
            faults.append(
                _fault(f"a site cannot be called {name}", f"sites.{name}", "choose another name")
            )
    if federation.network is None:
        faults.append(
            _fault(
                "the file does not say where the coordinator is",
                "network",
                'add a table [network] with host = "NAME", and port if it is not 8102',
            )
        )
    if federation.training.start:
        faults.append(
            _fault(
                "a federation over a network cannot start from given weights yet",
                "training.start",
                "take it out: the first weights are then made from the seed; or train in a "
                "simulation with fednnunet_train RUN --from BUNDLE",
            )
        )
    raise_all(f"{path.name} cannot be used over a network", faults)
    assert federation.network is not None
    return federation, federation.network


def at_site(federation: Federation, name: str, data: Path, policy: Path | None) -> Federation:
    """The federation as a site uses it: with its own folder and policy."""
    if name not in federation.sites:
        raise InputError(
            f"the federation file of the kit names no site {name}",
            where=name,
            mend="ask for a kit that was made from the present federation file",
        )
    own = replace(federation.sites[name], folder=data.resolve(), policy=policy)
    return replace(federation, sites={**federation.sites, name: own})


def _fault(what: str, where: str, mend: str) -> InputError:
    return InputError(what, where=where, mend=mend)
