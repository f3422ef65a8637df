"""The small federation of `kill_network.py`: phantoms, kits, and a proxy before each site.

Each site's kit names the port of its own proxy, so that one site's network can be cut alone.
"""

from __future__ import annotations

import dataclasses
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fednnunet import records
from fednnunet.api.plan import write_planned
from fednnunet.federation.spec import read_federation
from fednnunet.federation.workflows.plan import plan_together
from fednnunet.federation.workflows.simulation import simulation_engine
from fednnunet.planning.plan import Architecture, Plan, Stage, read_plan

sys.path.insert(0, str(Path(__file__).parent))
import make_phantoms
from cut_proxy import CutProxy
from local_network import LocalNetwork, allow_everything, free_port, network_toml

DEADLINE_S, GRACE_S = 30.0, 6.0
METHOD = "fedavg"
_TRAINING = """\
[budget]
planner = "cpu"

[training]
method = "{method}"
recipe = "fast"
rounds = {rounds}
iterations_per_round = 2
public_rounds = 0
held_out = 0.34
threads = 1
device = "cpu"
quorum = 1
deadline_s = {deadline}
grace_s = {grace}
exchange_grace_s = {grace}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """`ports.json`: where the coordinator listens, and the proxy of each site."""

    coordinator: int
    sites: dict[str, int]


@dataclass(frozen=True, slots=True)
class Template:
    """What all runs begin from, in `root`: `data`, `kits`, and in `planned` a plan."""

    root: Path

    @property
    def ports(self) -> Ports:
        """The ports that the kits name."""
        return records.read(Ports, self.root / "ports.json")

    @property
    def sites(self) -> tuple[str, ...]:
        """The names of the sites."""
        return tuple(sorted(self.ports.sites))

    @property
    def planned(self) -> Path:
        """A run folder with the plan and the federation file as records."""
        return self.root / "planned"


@dataclass(kw_only=True)
class FaultyNetwork(LocalNetwork):
    """The processes of a run, and the proxies between them."""

    proxies: Mapping[str, CutProxy] = field(default_factory=dict)


def make_template(root: Path, *, rounds: int, sites: int = 2) -> Template:
    """Make phantoms, a plan with a tiny network, and kits; what is there already is kept."""
    template = Template(root)
    if (root / "ports.json").exists():
        return template
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    training = _TRAINING.format(method=METHOD, rounds=rounds, deadline=DEADLINE_S, grace=GRACE_S)
    names = [hospital.name for hospital in make_phantoms.HOSPITALS[:sites]]
    embedded = make_phantoms.make_federation(root / "data", train=3, test=1)
    head = embedded.read_text(encoding="utf-8").split("[sites")[0]
    tables = "".join(f'[sites.{name}]\nfolder = "{name}"\n\n' for name in names)
    embedded.write_text(head + tables + training, encoding="utf-8")
    for name in names:
        policy = root / "data" / name / "site.toml"
        policy.write_text(allow_everything(policy.read_text(), (METHOD,)))
    _plan(embedded, template)
    ports = Ports(coordinator=free_port(), sites={name: free_port() for name in names})
    _make_kits(embedded.read_text(encoding="utf-8"), ports, root)
    records.write(ports, root / "ports.json")
    return template


def _plan(embedded: Path, template: Template) -> None:
    federation = read_federation(embedded)
    planned = plan_together(simulation_engine(federation, template.root / "measured"), federation)
    small = _with_a_tiny_network(planned.plan)
    write_planned(small, planned.fingerprint, planned.shapes, template.planned)
    records.write(federation, template.planned / "federation.json")


def _with_a_tiny_network(plan: Plan) -> Plan:
    ones, twos, kernel = (1, 1, 1), (2, 2, 2), (3, 3, 3)
    stages = (
        Stage(features=4, kernel=kernel, stride=ones, convs=1, decoder_convs=1),
        Stage(features=8, kernel=kernel, stride=twos, convs=1, decoder_convs=0),
    )
    small = dataclasses.replace(
        plan.configuration("3d_fullres"),
        patch_vox=(8, 8, 8),
        batch=2,
        architecture=Architecture(kind="plain", stages=stages),
    )
    return dataclasses.replace(plan, configurations=(small,))


def _make_kits(embedded: str, ports: Ports, root: Path) -> None:
    """Kits of one authority; each site's own names the port of its proxy."""
    from fednnunet.federation.engines.network.flare.provision import Wanted, make_kits

    def make(port: int, out: Path, authority: Path | None) -> str:
        text = network_toml(embedded, port)
        wanted = Wanted(
            sites=tuple(sorted(ports.sites)), host="localhost", port=port, federation=text
        )
        out.mkdir()
        make_kits(wanted, out, authority)
        return text

    text = make(ports.coordinator, root / "kits", None)
    (root / "federation.toml").write_text(text, encoding="utf-8")
    for site, port in ports.sites.items():
        make(port, root / "proxied", root / "kits" / "authority")
        shutil.rmtree(root / "kits" / site)
        (root / "proxied" / site).rename(root / "kits" / site)
        shutil.rmtree(root / "proxied")


@contextmanager
def open_run(template: Template, folder: Path) -> Iterator[FaultyNetwork]:
    """Copies of the kits in `folder`, a plan in `folder/run`, and the proxies."""
    ports = template.ports
    (folder / "run").mkdir(parents=True)
    shutil.copytree(template.root / "kits", folder / "kits")
    shutil.copy(template.planned / "plan.json", folder / "run")
    read_plan(folder / "run" / "plan.json")
    network = FaultyNetwork(
        root=folder,
        federation=template.root / "federation.toml",
        data={site: template.root / "data" / site for site in template.sites},
        proxies={site: CutProxy(port, ports.coordinator) for site, port in ports.sites.items()},
    )
    try:
        yield network
    finally:
        network.close()
        for proxy in network.proxies.values():
            proxy.close()
