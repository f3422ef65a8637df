"""The one job that a coordinator submits: two class names, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fednnunet import records
from fednnunet.federation.engines.network.flare.permissions import CONTROLLER, EXECUTOR

NAME = "fednnunet"
TASK = "carry"


CONFIGS = "config"
CLIENT, SERVER = "config_fed_client.json", "config_fed_server.json"


def client_config(executor: str = EXECUTOR) -> dict[str, Any]:
    """What a site is told to run."""
    return {
        "format_version": 2,
        "executors": [{"tasks": [TASK], "executor": {"path": executor, "args": {}}}],
        "components": [],
    }


def server_config(controller: str = CONTROLLER) -> dict[str, Any]:
    """What the coordinator is told to run."""
    return {
        "format_version": 2,
        "workflows": [{"id": TASK, "path": controller, "args": {}}],
        "components": [],
    }


def write_job(folder: Path) -> Path:
    """Write a job that any number of connected sites may take part in; returns its folder."""
    meta = {
        "name": NAME,
        "resource_spec": {},
        "min_clients": 1,
        "deploy_map": {"app": ["@ALL"]},
    }
    records.write(meta, folder / "meta.json")
    records.write(server_config(), folder / "app" / CONFIGS / SERVER)
    records.write(client_config(), folder / "app" / CONFIGS / CLIENT)
    return folder
