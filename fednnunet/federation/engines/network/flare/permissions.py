"""What participants permit NVFlare, as the files in `local/` of their kits.

A site accepts jobs of the one admin, without code, of one class. It sends no logs: they could name
cases. The stock files permit all of this, so each one is replaced.
"""

from __future__ import annotations

from typing import Any

PACKAGE = "fednnunet.federation.engines.network.flare"
EXECUTOR = f"{PACKAGE}.executor.CarryExecutor"
GATE = f"{PACKAGE}.gate.JobGate"
CONTROLLER = f"{PACKAGE}.controller.CarryController"
ROLE = "project_admin"
HEARTBEAT_TIMEOUT_S = 60  # NVFlare's default, 600 s, lets a round wait that long
_APPS = "nvflare.app_common"


def authorization() -> dict[str, Any]:
    """`authorization.json`: the admin may run jobs; nobody may send code or commands."""
    rights = {
        "submit_job": "any",
        "clone_job": "none",
        "manage_job": "any",
        "download_job": "none",
        "view": "any",
        "operate": "any",
        "shell_commands": "none",
        "byoc": "none",
        "server-predeployed-flwr": "none",
    }
    return {"format_version": "1.0", "permissions": {ROLE: rights}}


def site_resources() -> dict[str, Any]:
    """`resources.json` of a site: one class a job may name, no log leaves."""
    return {
        "format_version": 2,
        "class_list_enforcement_mode": "enforce",
        "class_allow_list": [EXECUTOR],
        "allow_log_streaming": False,
        "app_validator": {"path": GATE, "args": {}},
        "client": {"retry_timeout": 30, "compression": "Gzip"},
        "components": [
            _component(
                "resource_manager",
                f"{_APPS}.resource_managers.gpu_resource_manager.GPUResourceManager",
                num_of_gpus=0,
                mem_per_gpu_in_GiB=0,
                expiration_period=300,
            ),
            _component(
                "resource_consumer",
                f"{_APPS}.resource_consumers.gpu_resource_consumer.GPUResourceConsumer",
            ),
            _component(
                "process_launcher",
                f"{_APPS}.job_launcher.client_process_launcher.ClientProcessJobLauncher",
            ),
        ],
    }


def coordinator_resources(store: str) -> dict[str, Any]:
    """`resources.json` of the coordinator; NVFlare keeps its jobs in the folder `store`."""
    storage = f"{_APPS}.storages.filesystem_storage.FilesystemStorage"
    return {
        "format_version": 2,
        "class_list_enforcement_mode": "enforce",
        "class_allow_list": [CONTROLLER],
        "servers": [
            {
                "admin_storage": "transfer",
                "max_num_clients": 10_000,
                "heart_beat_timeout": HEARTBEAT_TIMEOUT_S,
                "admin_timeout": 10.0,
            }
        ],
        "snapshot_persistor": {
            "path": f"{_APPS}.state_persistors.storage_state_persistor.StorageStatePersistor",
            "args": {
                "uri_root": "/",
                "storage": {
                    "path": storage,
                    "args": {"root_dir": f"{store}/snapshots", "uri_root": "/"},
                },
            },
        },
        "components": [
            _component(
                "job_scheduler",
                f"{_APPS}.job_schedulers.job_scheduler.DefaultJobScheduler",
                max_jobs=1,
            ),
            _component(
                "job_manager",
                "nvflare.apis.impl.job_def_manager.SimpleJobDefManager",
                uri_root=f"{store}/jobs",
                job_store_id="job_store",
            ),
            _component("job_store", storage),
            _component(
                "process_launcher",
                f"{_APPS}.job_launcher.server_process_launcher.ServerProcessJobLauncher",
            ),
        ],
    }


def _component(name: str, path: str, **args: Any) -> dict[str, Any]:
    return {"id": name, "path": path, "args": args}
