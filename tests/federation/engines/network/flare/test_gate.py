"""A site's gate lets in exactly the one job; each other is refused and written to the ledger."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("nvflare", reason="pip install 'fednnunet[network]'")

from fednnunet import records
from fednnunet.federation.engines.network.flare.gate import (
    NVFLARE_SIG_FILE,
    NVFLARE_SUBMITTER_CRT_FILE,
    JobGate,
    why_refused,
)
from fednnunet.federation.engines.network.flare.job import (
    CLIENT,
    CONFIGS,
    client_config,
    write_job,
)
from fednnunet.federation.engines.network.kit import FILE, SETTINGS, Kit, Settings
from fednnunet.federation.wire import chain
from tests.federation.engines.network.refused_jobs import job_of_another_class, job_with_code


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """The app of our own job, as NVFlare unpacks it."""
    return write_job(tmp_path / "job") / "app"


def change(app: Path, **changes: object) -> None:
    records.write({**client_config(), **changes}, app / CONFIGS / CLIENT)


def test_our_own_job_is_let_in_with_nvflares_signatures(app: Path) -> None:
    assert why_refused(app) == ""
    for folder in (app, app / CONFIGS):
        (folder / NVFLARE_SIG_FILE).write_text("{}")
        (folder / NVFLARE_SUBMITTER_CRT_FILE).write_text("certificate")
    assert why_refused(app) == ""
    assert JobGate().validate(str(app)) == ("", {})


@pytest.mark.parametrize("name", ["custom/evil.py", "config/config_fed_client.conf", "run.sh"])
def test_a_file_beside_the_configuration_is_refused(app: Path, name: str) -> None:
    (app / name).parent.mkdir(exist_ok=True)
    (app / name).write_text("")
    assert "brings 1 files beside its configuration" in why_refused(app)


@pytest.mark.parametrize("target", ["nowhere", ""])
def test_a_link_is_a_file_too(app: Path, tmp_path: Path, target: str) -> None:
    (app / "custom").symlink_to(tmp_path / target)  # to nothing, and to a folder
    assert "brings 1 files" in why_refused(app)


@pytest.mark.parametrize(
    "changes",
    [
        {"components": [{"id": "x", "path": "os.system", "args": {}}]},
        {"executors": client_config("nvflare.app_common.np.np_trainer.NPTrainer")["executors"]},
        {"executors": client_config()["executors"] * 2},
        {"task_data_filters": []},
        {"format_version": 3},
    ],
)
def test_any_other_configuration_is_refused(app: Path, changes: dict[str, object]) -> None:
    change(app, **changes)
    assert "another class, task or setting" in why_refused(app)


def test_arguments_are_refused(app: Path) -> None:
    change(app, executors=json.loads(json.dumps(client_config()["executors"]).replace("{}", "[]")))
    assert "another class, task or setting" in why_refused(app)


@pytest.mark.parametrize("data", [b"", b"no JSON", b"\xff\xfe", b'{"a": 1} x'])
def test_a_configuration_that_cannot_be_read_is_refused(app: Path, data: bytes) -> None:
    (app / CONFIGS / CLIENT).write_bytes(data)
    assert why_refused(app) == "the job's configuration cannot be read"
    (app / CONFIGS / CLIENT).unlink()
    assert why_refused(app) == "the job's configuration cannot be read"


def test_a_refusal_is_written_to_the_ledger_of_the_site(tmp_path: Path) -> None:
    kit, work = tmp_path / "kit", tmp_path / "work"
    records.write(
        Kit(role="site", name="a", federation="0" * 64, host="localhost", port=8102), kit / FILE
    )
    records.write(Settings(kit=kit, data=tmp_path, work=work), kit / SETTINGS)
    code = job_with_code(kit / "run_1", tmp_path / "mark") / "app"
    other = job_of_another_class(kit / "run_2") / "app"
    for app in (code, other):
        why, properties = JobGate().validate(str(app))
        assert why and properties == {}
    entries = chain.read(work / chain.FILE)
    assert [entry["message"] for entry in entries] == ["RefusedJob"] * 2
    assert ["files beside" in str(entry["detail"]) for entry in entries] == [True, False]
    assert {entry["bytes"] for entry in entries} == {0}
    assert not (tmp_path / "mark").exists()


def test_a_job_is_refused_where_there_is_no_ledger(tmp_path: Path) -> None:
    why, _ = JobGate().validate(str(job_of_another_class(tmp_path / "job") / "app"))
    assert "another class" in why
    assert not list(tmp_path.rglob(chain.FILE))
