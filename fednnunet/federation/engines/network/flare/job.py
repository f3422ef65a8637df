"""The one job that a coordinator submits: two class names, and nothing else."""

from __future__ import annotations

from pathlib import Path

from fednnunet import records
from fednnunet.federation.engines.network.flare.permissions import CONTROLLER, EXECUTOR

NAME = "fednnunet"
TASK = "carry"


def write_job(folder: Path, *, controller: str = CONTROLLER, executor: str = EXECUTOR) -> Path:
    """Write a job that any number of connected sites may take part in; returns its folder."""
    meta = {
        "name": NAME,
        "resource_spec": {},
        "min_clients": 1,
        "deploy_map": {"app": ["@ALL"]},
    }
    server = {
        "format_version": 2,
        "workflows": [{"id": "carry", "path": controller, "args": {}}],
        "components": [],
    }
    client = {
        "format_version": 2,
        "executors": [{"tasks": [TASK], "executor": {"path": executor, "args": {}}}],
        "components": [],
    }
    records.write(meta, folder / "meta.json")
    records.write(server, folder / "app" / "config" / "config_fed_server.json")
    records.write(client, folder / "app" / "config" / "config_fed_client.json")
    return folder
