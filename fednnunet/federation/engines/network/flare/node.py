"""NVFlare's own program of one participant, as a child process that ends with ours.

python -m fednnunet.federation.engines.network.flare.node site|coordinator KIT
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from nvflare.fuel.f3.mpm import MainProcessMonitor
from nvflare.private.fed.app.client import client_train
from nvflare.private.fed.app.server import server_train

from fednnunet.federation.engines.network.children import end_with_parent
from fednnunet.federation.engines.network.kit import read_kit

_COMMON = ("secure_train=true", "org=fednnunet", "config_folder=config")


def main(argv: Sequence[str]) -> int:
    """Run until the parent ends this process."""
    role, folder = argv[0], Path(argv[1]).resolve()
    end_with_parent()
    (folder / "transfer").mkdir(exist_ok=True)
    if role == "site":
        name = read_kit(folder, "site").name
        settings = [*_COMMON, f"uid={name}"]
        options = Namespace(
            workspace=str(folder), fed_client="fed_client.json", set=settings, local_rank=0
        )
        run = client_train.main
    else:
        options = Namespace(workspace=str(folder), fed_server="fed_server.json", set=[*_COMMON])
        run = server_train.main
    return int(MainProcessMonitor.run(main_func=run, run_dir=str(folder), args=options) or 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
