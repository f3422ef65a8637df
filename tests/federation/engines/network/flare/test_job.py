"""The one job: two class names without arguments, no code, and any number of sites."""

from __future__ import annotations

import json
from pathlib import Path

from fednnunet.federation.engines.network.flare.job import (
    CLIENT,
    CONFIGS,
    SERVER,
    TASK,
    client_config,
    write_job,
)
from fednnunet.federation.engines.network.flare.permissions import CONTROLLER, EXECUTOR


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_job_has_its_configuration_and_no_other_file(tmp_path: Path) -> None:
    folder = write_job(tmp_path / "job")
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found == {"meta.json", f"app/{CONFIGS}/{CLIENT}", f"app/{CONFIGS}/{SERVER}"}


def test_each_side_is_named_one_class_without_arguments(tmp_path: Path) -> None:
    configs = write_job(tmp_path) / "app" / CONFIGS
    site, coordinator = read(configs / CLIENT), read(configs / SERVER)
    assert site == client_config()
    assert site["executors"] == [{"tasks": [TASK], "executor": {"path": EXECUTOR, "args": {}}}]
    assert coordinator["workflows"] == [{"id": TASK, "path": CONTROLLER, "args": {}}]
    assert site["components"] == coordinator["components"] == []


def test_one_site_is_enough_and_all_may_take_part(tmp_path: Path) -> None:
    meta = read(write_job(tmp_path) / "meta.json")
    assert meta["min_clients"] == 1
    assert meta["deploy_map"] == {"app": ["@ALL"]}
    assert meta["resource_spec"] == {}
