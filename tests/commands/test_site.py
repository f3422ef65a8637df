"""What a hospital's staff can ask of their site without a network: approve, pause, leave."""

from __future__ import annotations

from pathlib import Path

import pytest

from fednnunet import records
from fednnunet.commands import site
from fednnunet.errors import RefusalError
from fednnunet.federation.engines.network.kit import FEDERATION, FILE, Kit
from fednnunet.federation.engines.network.service import LEAVE
from fednnunet.federation.engines.network.state import PAUSED
from fednnunet.federation.site import consent
from fednnunet.federation.site.approval import check_approved
from tests.federation.fakes import a_plan

TOML = """\
[task]
name = "{name}"
channels = [{channels}]
labels = [{labels}]

[sites.a]

[network]
host = "localhost"

[training]
method = "fedavg"
rounds = 2
"""


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    found = Kit(role="site", name="a", federation="0" * 64, host="localhost", port=8102)
    records.write(found, tmp_path / FILE)
    task = a_plan().task
    channels, labels = (
        ", ".join(f'"{n}"' for n in names) for names in (task.channels, task.labels)
    )
    text = TOML.format(name=task.name, channels=channels, labels=labels)
    (tmp_path / FEDERATION).write_text(text)
    return tmp_path


def test_a_person_sees_what_is_asked_and_approves_it(
    kit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work, plan = kit / "work", a_plan()
    assert site.main([str(kit), "--approve"]) == 0
    assert "nothing waits" in capsys.readouterr().out
    consent.keep_request(work, consent.Request(plan=plan, reasons=("nobody was asked yet",)))
    with pytest.raises(RefusalError):
        check_approved(work, plan, rounds=2)
    assert site.main([str(kit), "--approve", "--yes"]) == 0
    shown = capsys.readouterr().out
    assert "fedavg, 2 rounds" in shown and "nobody was asked yet" in shown
    check_approved(work, plan, rounds=2)


@pytest.mark.parametrize("said", ["no", "", "y"])
def test_only_yes_approves(kit: Path, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    request = consent.Request(plan=a_plan(), reasons=())
    consent.keep_request(kit / "work", request)
    monkeypatch.setattr("builtins.input", lambda *args: said)
    assert site.main([str(kit), "--approve"]) == 0
    with pytest.raises(RefusalError):
        check_approved(kit / "work", request.plan, rounds=2)


def test_a_site_is_paused_resumed_and_ended_by_its_staff(kit: Path) -> None:
    assert site.main([str(kit), "--pause"]) == 0
    assert (kit / "work" / PAUSED).exists()
    assert site.main([str(kit), "--resume"]) == 0
    assert not (kit / "work" / PAUSED).exists()
    assert site.main([str(kit), "--leave"]) == 0
    assert (kit / "work" / LEAVE).exists()


def test_a_folder_that_is_no_kit_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert site.main([str(tmp_path), "--pause"]) == 2
    assert "no start-up kit" in capsys.readouterr().err


def test_a_missing_folder_of_cases_is_refused(
    kit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("cryptography", reason="pip install 'fednnunet[network]'")
    assert site.main([str(kit)]) == 2
    assert "no folder of cases is given" in capsys.readouterr().err
