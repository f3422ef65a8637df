"""Who and what is refused: jobs with code or another class, and certificates that do not hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fednnunet.commands import provision
from fednnunet.errors import InputError
from fednnunet.federation.engines.network import children
from fednnunet.federation.engines.network.coordinator import check_port
from fednnunet.federation.engines.network.kit import read_kit
from fednnunet.federation.engines.network.service import NODE
from fednnunet.federation.wire import chain
from tests.federation.engines.network import refused_jobs
from tests.federation.engines.network.foreign_kits import expired_certificate, with_certificate

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
        _check_certificates(tiny_network, tmp_path)
    finally:
        children.end(server)
    assert not any("COMPLETED" in end for end in ends)
    assert not mark.exists()
    entries = chain.read(tiny_network.work("north") / chain.FILE)
    assert [entry["message"] for entry in entries] == ["RefusedJob", "RefusedJob"]
    assert ["files beside" in str(e["detail"]) for e in entries] == [True, False]
    south = tiny_network.kits / "south"
    logs = "".join(path.read_text() for path in south.rglob("log.txt"))
    assert "BYOC not permitted" in (tmp_path / "server.log").read_text()
    assert "not authorized" in logs


def _check_certificates(network: Any, folder: Path) -> None:
    """The running coordinator admits its own kits only, and each refusal has its words."""
    from fednnunet.federation.engines.network.certificates import days_left, why_unreachable

    own, others = network.kits / "north", folder / "others"
    assert provision.main([str(network.federation), "-o", str(others)]) == 0
    kit = read_kit(own, "site")
    assert why_unreachable(own, kit) == "" and days_left(own) > 300
    assert "of another federation" in why_unreachable(others / "north", kit)
    foreign = with_certificate(own, others / "north" / "startup", folder / "foreign")
    assert "refuses this kit's certificate" in why_unreachable(foreign, kit)
    old = expired_certificate(network.kits / "authority", "north", folder / "old")
    expired = with_certificate(own, old, folder / "expired")
    assert "refuses this kit's certificate" in why_unreachable(expired, kit)
    with pytest.raises(InputError, match="expired 1 days ago"):
        days_left(expired)
    assert "is not of 127.0.0.1" in why_unreachable(own, replace(kit, host="127.0.0.1"))
    assert "no coordinator answers" in why_unreachable(own, replace(kit, port=1))
    with pytest.raises(InputError, match="in use"):
        check_port(kit, seconds=0.0)
