"""Jobs that a site must refuse, and how they are submitted past a coordinator that permits all."""

from __future__ import annotations

import json
import time
from pathlib import Path

from fednnunet import records
from fednnunet.federation.engines.network.flare.job import (
    CLIENT,
    CONFIGS,
    SERVER,
    client_config,
    server_config,
    write_job,
)

CODE = """\
from pathlib import Path

from nvflare.apis.executor import Executor

Path("{mark}").touch()


class Evil(Executor):
    def execute(self, task_name, shareable, fl_ctx, abort_signal):
        return shareable
"""


def job_with_code(folder: Path, mark: Path) -> Path:
    """A job that brings a class, which creates the file `mark` where it is loaded."""
    write_job(folder)
    custom = folder / "app" / "custom"
    custom.mkdir()
    (custom / "evil.py").write_text(CODE.format(mark=mark))
    records.write(client_config("evil.Evil"), folder / "app" / CONFIGS / CLIENT)
    return folder


def job_of_another_class(folder: Path) -> Path:
    """A job that names a class which NVFlare has and the site does not allow."""
    write_job(folder)
    other = "nvflare.app_common.np.np_trainer.NPTrainer"
    records.write(client_config(other), folder / "app" / CONFIGS / CLIENT)
    records.write(server_config(), folder / "app" / CONFIGS / SERVER)
    return folder


def permit_all(kit: Path) -> None:
    """Make a coordinator's kit one that lets every job through."""
    local = kit / "local"
    (local / "authorization.json").write_bytes((local / "authorization.json.default").read_bytes())
    resources = json.loads((local / "resources.json").read_text())
    resources["class_list_enforcement_mode"] = "off"
    records.write(resources, local / "resources.json")


def without_gate(kit: Path) -> None:
    """Take the gate out of a site's kit, so that NVFlare's own limits are seen."""
    path = kit / "local" / "resources.json"
    resources = json.loads(path.read_text())
    del resources["app_validator"]
    records.write(resources, path)


def submit(admin: Path, job: Path, sites: int, seconds: float = 120.0) -> str:
    """Submit a job once so many sites are connected; returns the status that it ends with."""
    from nvflare.fuel.flare_api.flare_api import new_secure_session

    from fednnunet.federation.engines.network.flare.provision import ADMIN

    end = time.monotonic() + seconds
    session = new_secure_session(ADMIN, str(admin), timeout=seconds)
    try:
        while len(session.get_connected_client_list()) < sites and time.monotonic() < end:
            time.sleep(0.5)
        name = session.submit_job(str(job))
        while time.monotonic() < end:
            status = str(session.get_job_status(name))
            if status.startswith(("FINISHED", "FAILED", "ABANDONED")):
                return status
            time.sleep(0.5)
        return "still running"
    finally:
        session.close()
