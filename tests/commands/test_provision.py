"""Kits are made once, into an empty folder, from a file without anybody's folders."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fednnunet.commands import coordinate, provision, site
from fednnunet.federation.engines.network.state import PAUSED
from tests.end_to_end.tiny import TOML

NETWORK = '\n[network]\nhost = "localhost"\nport = 8102\n'
BARE = "\n".join(line for line in TOML.splitlines() if not line.startswith("folder")) + NETWORK


@pytest.fixture
def federation(tmp_path: Path) -> Path:
    pytest.importorskip("nvflare", reason="pip install 'fednnunet[network]'")
    path = tmp_path / "federation.toml"
    path.write_text(BARE)
    return path


def test_each_participant_gets_a_kit_that_nobody_else_can_read(
    federation: Path, tmp_path: Path
) -> None:
    kits = tmp_path / "kits"
    assert provision.main([str(federation), "-o", str(kits)]) == 0
    names = {"admin", "authority", "coordinator", "north", "south", "west"}
    assert {path.name for path in kits.iterdir()} == names
    keys = list(kits.rglob("*.key"))
    assert len(keys) == 6 and all(path.stat().st_mode & 0o077 == 0 for path in keys)
    texts = [path.read_text() for path in (kits / "authority").iterdir()]
    assert len(texts) == 2  # the root's own, and no participant's


def test_kits_are_not_replaced(
    federation: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "kits").mkdir()
    (tmp_path / "kits" / "x").touch()
    assert provision.main([str(federation), "-o", str(tmp_path / "kits")]) == 2
    assert "not empty" in capsys.readouterr().err


def test_further_kits_are_of_the_same_federation(federation: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert provision.main([str(federation), "-o", str(first)]) == 0
    authority = str(first / "authority")
    assert provision.main([str(federation), "-o", str(second), "--authority", authority]) == 0
    root = Path("north") / "startup" / "rootCA.pem"
    assert (first / root).read_bytes() == (second / root).read_bytes()
    own = Path("north") / "startup" / "client.crt"
    assert (first / own).read_bytes() != (second / own).read_bytes()
    assert not (second / "authority").exists()


def test_a_kit_of_another_federation_is_refused(
    federation: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert provision.main([str(federation), "-o", str(tmp_path / "kits")]) == 0
    other = tmp_path / "other.toml"
    other.write_text(BARE.replace("[sites.west]", "[sites.east]").replace("8102", "8103"))
    kit, run = str(tmp_path / "kits" / "coordinator"), str(tmp_path / "run")
    assert coordinate.main([kit, str(other), "-o", run]) == 2
    assert "the sites, network differ" in " ".join(capsys.readouterr().err.split())
    assert coordinate.main([str(tmp_path / "kits" / "north"), str(federation), "-o", run]) == 2
    assert "not of a coordinator" in " ".join(capsys.readouterr().err.split())


def test_a_site_keeps_its_private_key(
    federation: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked, kits = str(tmp_path / "asked"), tmp_path / "kits"
    assert provision.main([str(federation), "-o", asked, "--request", "north"]) == 0
    said = capsys.readouterr().out.strip().splitlines()[-1]
    request = str(tmp_path / "asked" / "north.csr")
    assert provision.main([str(federation), "-o", str(kits), "--approve", request]) == 0
    assert said in capsys.readouterr().out  # what both compare
    kit = str(kits / "north")
    assert site.main([kit, "--data", str(tmp_path)]) == 2
    assert "no private key" in capsys.readouterr().err
    assert provision.main([str(federation), "-o", asked, "--complete", kit]) == 0
    key = (kits / "north" / "startup" / "client.key").read_bytes()
    assert key == (tmp_path / "asked" / "north.key").read_bytes()


def test_requests_are_of_sites_of_the_federation(
    federation: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from fednnunet.federation.engines.network.certificate_request import make_request

    monkeypatch.chdir(tmp_path)
    for name in ("north", "east"):
        make_request(name, tmp_path / "x")
    for options, words in (
        (["--request", "east"], "names no site east"),
        (["--approve", "x/north.csr,x/north.csr"], "there are 2 requests of north"),
        (["--approve", "x/east.csr"], "which is no site of the federation"),
    ):
        assert provision.main([str(federation), "-o", str(tmp_path / "kits"), *options]) == 2
        assert words in " ".join(capsys.readouterr().err.split())
        assert not (tmp_path / "kits").exists()


def test_kits_of_sites_are_handed_out_under_passwords(
    federation: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("pyzipper", reason="pip install 'fednnunet[network]'")
    kits = tmp_path / "kits"
    assert provision.main([str(federation), "-o", str(kits), "--zip"]) == 0
    names = {"admin", "authority", "coordinator", "north.zip", "south.zip", "west.zip"}
    assert {path.name for path in kits.iterdir()} == names
    found = re.findall(r"kit: (\S+\.zip), password (\S+);", capsys.readouterr().out)
    passwords = {Path(path).name: password for path, password in found}
    assert len(set(passwords.values())) == 3
    monkeypatch.setattr("getpass.getpass", lambda *args, **named: passwords["north.zip"])
    assert site.main([str(kits / "north.zip"), "--pause"]) == 0
    assert "the kit is unpacked" in capsys.readouterr().out
    assert (kits / "north" / "work" / PAUSED).exists()
    assert site.main([str(kits / "east.zip"), "--pause"]) == 2
    assert "no file east.zip" in capsys.readouterr().err
