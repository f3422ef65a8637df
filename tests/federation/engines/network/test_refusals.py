"""A site lets no job of NVFlare in but ours: neither code nor another class, and it says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fednnunet.federation.engines.network import children
from fednnunet.federation.engines.network.service import NODE
from fednnunet.federation.site import ledger
from tests.federation.engines.network import refused_jobs

pytestmark = [pytest.mark.network, pytest.mark.timeout(600)]


def test_jobs_with_code_or_another_class_are_refused(tiny_network: Any, tmp_path: Path) -> None:
    """`south` has no gate: there NVFlare's own limits refuse the same jobs."""
    from fednnunet.federation.engines.network.flare.provision import use_store

    coordinator, mark = tiny_network.kits / "coordinator", tmp_path / "code_ran"
    use_store(coordinator, tmp_path / "store")
    refused_jobs.permit_all(coordinator)
    refused_jobs.without_gate(tiny_network.kits / "south")
    server = children.start(NODE, ["coordinator", str(coordinator)], log=tmp_path / "server.log")
    try:
        for site in ("north", "south"):
            tiny_network.start_site(site)
        code = refused_jobs.job_with_code(tmp_path / "code", mark)
        other = refused_jobs.job_of_another_class(tmp_path / "other")
        ends = [refused_jobs.submit(tiny_network.kits / "admin", job, 2) for job in (code, other)]
    finally:
        children.end(server)
    assert not any("COMPLETED" in end for end in ends)
    assert not mark.exists()
    entries = ledger.read(tiny_network.work("north") / ledger.FILE)
    assert [entry["message"] for entry in entries] == ["RefusedJob", "RefusedJob"]
    assert ["files beside" in str(e["detail"]) for e in entries] == [True, False]
    south = tiny_network.kits / "south"
    logs = "".join(path.read_text() for path in south.rglob("log.txt"))
    assert "BYOC not permitted" in (tmp_path / "server.log").read_text()
    assert "not authorized" in logs
