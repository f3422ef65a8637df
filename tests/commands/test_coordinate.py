"""fednnunet_coordinate: it plans and trains through any engine, and looks at its kits before."""

from __future__ import annotations

import io
import sys
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from fednnunet import records
from fednnunet.commands import coordinate
from fednnunet.commands.coordinate import run_federation
from fednnunet.commands.round_lines import RoundLines
from fednnunet.federation.coordinator.engine import Engine
from fednnunet.federation.coordinator.stated import SITES as STATED
from fednnunet.federation.engines.network.exchange import FOLDER, Desk
from fednnunet.federation.engines.network.federation_file import read_network_federation
from fednnunet.federation.engines.network.kit import FEDERATION, FILE, Kit
from fednnunet.federation.spec import Federation, read_federation
from fednnunet.federation.workflows.simulation import simulation_engine
from fednnunet.planning import figures
from fednnunet.planning.plan import Plan, read_plan
from tests.commands.test_provision import BARE
from tests.end_to_end.tiny import make_federation, shrink

EXTRA = "pip install 'fednnunet[network]'"


def test_a_federation_is_planned_once_and_then_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over the engine of one process; the training itself is tested elsewhere."""
    federation, run = read_federation(make_federation(tmp_path)), tmp_path / "run"
    trained: list[Plan] = []
    shown = io.StringIO()

    def train(
        engine: Engine,
        federation: Federation,
        plan: Plan,
        folder: Path,
        *,
        observer: RoundLines,
        progress: Callable[[int, int, str], None],
    ) -> None:
        assert records.read(Federation, folder / "federation.json") == federation
        assert isinstance(observer, RoundLines)
        progress(1, 3, "north")
        trained.append(plan)

    monkeypatch.setattr(figures, "draw_figures", lambda *args: ())
    monkeypatch.setattr(coordinate, "train_together", train)
    monkeypatch.setattr(coordinate, "show_scores", lambda folder, console: None)
    monkeypatch.setattr(coordinate, "report_run", lambda folder: folder / "report.html")
    engine, console = simulation_engine(federation, run), Console(file=shown, width=200)
    run_federation(engine, federation, run, console)
    names = {path.name for path in run.iterdir()}
    assert {"plan.json", "fingerprint.json", "why.md", STATED} <= names
    told = shown.getvalue()
    for words in (
        "the sites measure",
        "site north stated 5 cases",
        "north has answered (1 of 3)",
        "report.html",
    ):
        assert words in told
    shrink(run / "plan.json")  # so that another plan than the sites' sums give is there
    run_federation(engine, federation, run, console)
    assert trained[0] != trained[1] == read_plan(run / "plan.json")
    assert "the plan is there already" in shown.getvalue()


def test_a_status_page_is_served_during_the_run_alone(tmp_path: Path) -> None:
    federation, shown = read_network_federation(_bare(tmp_path))[0], io.StringIO()
    options = coordinate.Options(
        kit=tmp_path, federation=tmp_path, output=tmp_path / "run", status_port=0
    )
    console = Console(file=shown, width=200)
    with coordinate._status(options, federation, Desk(tmp_path / FOLDER), console):
        address = shown.getvalue().split()[-1]
        page = urllib.request.urlopen(address, timeout=10).read().decode()
    assert "<td>north</td>" in page and "not connected" in page
    with pytest.raises(OSError):
        urllib.request.urlopen(address, timeout=2)
    shown.truncate(0)
    off = replace(options, status_port=None)
    with coordinate._status(off, federation, Desk(tmp_path / FOLDER), console):
        assert not shown.getvalue()


def _bare(folder: Path) -> Path:
    path = folder / "federation.toml"
    path.write_text(BARE)
    return path


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
    loaded = [name for name in sys.modules if name.split(".")[0] == "nvflare"]
    for name in {"nvflare", *loaded}:
        monkeypatch.setitem(sys.modules, name, None)  # as where it is not installed
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
