"""A coordinator and three phantom hospitals on a network of this machine, from kits to scores.

Run by `make demo-network`. Each participant has processes of its own, and all that they say goes
through TLS on 127.0.0.1. As root each site runs as an operating-system user of its own, whose cases
the others cannot read. Everything is written below `demo/network`, which is made anew.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.rule import Rule

from fednnunet.federation.wire import chain

sys.path.insert(0, str(Path(__file__).parent))
import make_phantoms
from local_network import (
    LocalNetwork,
    allow_everything,
    can_run_as_others,
    free_port,
    network_toml,
)

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "demo" / "network"
LIMIT_S = 600.0
_TRAINING = """\
[training]
method = "fedbn_head"
recipe = "fast"
rounds = 3
iterations_per_round = 4
public_rounds = 1
quorum = 2
grace_s = 60
"""


def main() -> int:
    """Make the phantoms and kits, run all participants, and show what left each site."""
    console = Console(highlight=False)
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    users = os.geteuid() == 0 and can_run_as_others()
    if not users:
        console.print("the sites run as this user: others cannot be used, or not reach the program")
    # users of their own must be able to reach their folders, which may not be so below ROOT
    root = Path(tempfile.mkdtemp(prefix="fednnunet_network_")) if users else OUT
    root.chmod(0o711)
    begin = time.perf_counter()
    network = _prepare(console, root, users)
    console.print(Rule("train over the network", align="left"))
    try:
        network.start_coordinator(OUT / "run")
        for site in network.data:
            network.start_site(site, "--once")
        code = network.wait("coordinator", LIMIT_S)
        for site in network.data:
            code = code or network.wait(site, 60)
    finally:
        network.close()
    console.print(network.tail("coordinator"), markup=False)
    for site in network.data:
        entries = chain.read(network.work(site) / chain.FILE)
        size = sum(int(str(entry["bytes"])) for entry in entries)
        console.print(f"site {site}: {len(entries)} messages left, {size / 2**20:.1f} MiB in all")
    console.print(
        f"{time.perf_counter() - begin:.0f} s; run folder {OUT / 'run'}; kits, logs and "
        f"ledgers in {root}",
        markup=False,
    )
    return code


def _prepare(console: Console, root: Path, users: bool) -> LocalNetwork:
    console.print(Rule("make three phantom hospitals and their kits", align="left"))
    embedded = make_phantoms.make_federation(root / "data", train=4, test=2)
    text = embedded.read_text(encoding="utf-8").split("[training]")[0] + _TRAINING
    path = root / "federation.toml"
    path.write_text(network_toml(text, free_port()), encoding="utf-8")
    data = {hospital.name: root / "data" / hospital.name for hospital in make_phantoms.HOSPITALS}
    for folder in data.values():
        policy = (folder / "site.toml").read_text(encoding="utf-8")
        (folder / "site.toml").write_text(allow_everything(policy, ("fedbn_head",)))
    network = LocalNetwork(root=root, federation=path, data=data, users=users)
    (root / "data").chmod(0o711)
    network.provision()
    return network


if __name__ == "__main__":
    sys.exit(main())
