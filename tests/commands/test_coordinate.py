"""fednnunet_coordinate: it plans and trains through any engine, and looks at its kits before."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from rich.console import Console

from fednnunet import records
from fednnunet.commands import coordinate
from fednnunet.commands.coordinate import run_federation
from fednnunet.federation.coordinator.stated import SITES as STATED
from fednnunet.federation.engines.network.exchange import FOLDER, Desk
from fednnunet.federation.engines.network.federation_file import read_network_federation
from fednnunet.federation.engines.network.kit import FEDERATION, FILE, Kit
from fednnunet.federation.spec import Federation, read_federation
from fednnunet.federation.workflows.simulation import simulation_engine
from fednnunet.federation.workflows.train import SCORES
from fednnunet.planning import figures
from fednnunet.planning.plan import read_plan
from tests.commands.test_provision import BARE
from tests.end_to_end.tiny import TOML, make_federation, no_pictures, shrink

EXTRA = "pip install 'fednnunet[network]'"
SHORT = (
    TOML.replace('method = "fedbn_head"', 'method = "fedavg"\nbaselines = []')
    .replace("public_rounds = 1\n", "")
    .replace("rounds = 2\niterations_per_round = 2", "rounds = 1\niterations_per_round = 1")
)


class Interrupted(Exception):
    """Ends a coordinator before it trains."""


def test_a_federation_is_planned_and_trained_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over the engine of one process; what it asks is the same over a network."""
    federation = read_federation(make_federation(tmp_path, toml=SHORT))
    run = tmp_path / "run"
    monkeypatch.setattr(figures, "draw_figures", lambda *args: ())
    monkeypatch.setattr(coordinate, "report_run", lambda folder: folder / "report.html")
    shown = io.StringIO()
    console = Console(file=shown, width=200)

    def interrupted(*args: object) -> None:
        raise Interrupted

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(coordinate, "check_runs", interrupted)
        run_federation(simulation_engine(federation, run), federation, run, console)
    assert "the sites measure their cases" in shown.getvalue()
    assert {"plan.json", "fingerprint.json", "why.md", STATED} <= {p.name for p in run.iterdir()}
    shrink(run / "plan.json")
    plan = (run / "plan.json").read_bytes()
    engine = simulation_engine(federation, run, plan=read_plan(run / "plan.json"))
    with no_pictures():
        run_federation(engine, federation, run, console)
    assert (run / "plan.json").read_bytes() == plan
    assert records.read(Federation, run / "federation.json") == federation
    assert (run / SCORES).is_file() and (run / "global").is_dir()
    told = shown.getvalue()
    for words in ("the plan is there already", "round 1 of 1", "north has answered", "report.html"):
        assert words in told


@pytest.fixture
def kits(tmp_path: Path) -> Path:
    """Kits with what our programs add to them, and without certificates."""
    (tmp_path / "federation.toml").write_text(BARE)
    for role in ("coordinator", "admin"):
        write_kit(tmp_path / role, role)
    (tmp_path / "coordinator" / FEDERATION).write_text(BARE)
    return tmp_path


def write_kit(folder: Path, role: str, federation: str = "0" * 64) -> None:
    kit = Kit(
        role=role,  # type: ignore[arg-type]
        name=role,
        federation=federation,
        host="localhost",
        port=8102,
    )
    records.write(kit, folder / FILE)


def call(kits: Path, *more: str) -> int:
    kit, file, out = kits / "coordinator", kits / "federation.toml", kits / "run"
    return coordinate.main([str(kit), str(file), "-o", str(out), *more])


def test_without_the_extra_nothing_is_written(
    kits: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    part = "fednnunet.federation.engines.network.flare.provision"
    monkeypatch.delitem(sys.modules, part, raising=False)
    monkeypatch.setitem(sys.modules, "nvflare", None)  # not installed
    assert call(kits) == 2
    assert EXTRA in " ".join(capsys.readouterr().err.split())
    assert not (kits / "run").exists()


def test_a_site_is_revoked_in_the_kit_and_nothing_else_happens(kits: Path) -> None:
    pytest.importorskip("nvflare", reason=EXTRA)
    desk = Desk(kits / "coordinator" / FOLDER)
    assert call(kits, "--revoke", "south") == 0
    assert call(kits, "--revoke", "north") == 0
    assert desk.revoked() == {"north", "south"}
    assert not (kits / "run").exists()


def test_only_a_site_of_the_federation_is_revoked(
    kits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("nvflare", reason=EXTRA)
    assert call(kits, "--revoke", "east") == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "there is no site east" in told and "north, south, west" in told
    assert not Desk(kits / "coordinator" / FOLDER).revoked_list.exists()


def test_both_kits_are_of_one_federation(kits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("nvflare", reason=EXTRA)
    write_kit(kits / "admin", "admin", federation="1" * 64)
    assert call(kits) == 2
    assert "of another federation" in " ".join(capsys.readouterr().err.split())
    write_kit(kits / "other", "admin")
    assert call(kits, "--admin", str(kits / "other"), "--revoke", "south") == 0


@pytest.mark.parametrize(
    ("old", "new", "differs"),
    [
        ("[sites.west]", "[sites.east]", "the sites differ"),
        ('"core"]', '"shell"]', "the task differ"),
        ("8102", "8103", "network differ"),
    ],
)
def test_the_federation_file_is_the_one_of_the_kits(
    kits: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, differs: str
) -> None:
    pytest.importorskip("nvflare", reason=EXTRA)
    (kits / "federation.toml").write_text(BARE.replace(old, new))
    assert call(kits) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "made for another federation" in told and differs in told


def test_the_settings_of_training_may_change(kits: Path) -> None:
    pytest.importorskip("nvflare", reason=EXTRA)
    text = BARE.replace("rounds = 2", "rounds = 9")
    (kits / "federation.toml").write_text(text)
    assert read_network_federation(kits / "federation.toml")[0].training.rounds == 9
    assert call(kits, "--revoke", "south") == 0
