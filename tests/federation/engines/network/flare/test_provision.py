"""Kits: one identity in all, our permissions in place of NVFlare's, and no scripts."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

pytest.importorskip("nvflare", reason="pip install 'fednnunet[network]'")

from fednnunet import records
from fednnunet.errors import FedNNUNetError, InputError
from fednnunet.federation.engines.network.flare.permissions import (
    authorization,
    coordinator_resources,
    site_resources,
)
from fednnunet.federation.engines.network.flare.provision import Wanted, make_kits, use_store
from fednnunet.federation.engines.network.kit import FEDERATION, FILE, Kit

WANTED = Wanted(sites=("north", "south"), host="localhost", port=8102, federation="# agreed\n")
NAMES = ("coordinator", "admin", "north", "south")


@pytest.fixture(scope="module")
def kits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("provision") / "kits"
    assert [path.name for path in make_kits(WANTED, out)] == list(NAMES)
    return out


def test_every_kit_says_whose_it_is_and_of_which_federation(kits: Path) -> None:
    root = (kits / "authority" / "rootCA.pem").read_bytes()
    identity = hashlib.sha256(root).hexdigest()
    for name in NAMES:
        found = records.read(Kit, kits / name / FILE)
        role = "site" if name in WANTED.sites else name
        assert (found.role, found.name, found.federation) == (role, name, identity)
        assert (found.host, found.port) == ("localhost", 8102)
        assert (kits / name / "startup" / "rootCA.pem").read_bytes() == root


def test_what_was_agreed_is_with_all_but_the_admin(kits: Path) -> None:
    for name in ("coordinator", "north", "south"):
        assert (kits / name / FEDERATION).read_text() == WANTED.federation
    assert not (kits / "admin" / FEDERATION).exists()


def test_our_permissions_stand_in_place_of_nvflares(kits: Path) -> None:
    for name in ("coordinator", *WANTED.sites):
        found = json.loads((kits / name / "local" / "authorization.json").read_text())
        assert found == authorization()
    for name in WANTED.sites:
        found = json.loads((kits / name / "local" / "resources.json").read_text())
        assert found == site_resources()


def test_kits_have_no_scripts_and_only_their_owners_private_key(kits: Path) -> None:
    assert not [path for path in kits.rglob("*") if path.suffix in (".sh", ".ipynb")]
    secret = (kits / "authority" / "rootCA.key").read_text()
    keys = [path for path in kits.rglob("*.key") if path.parent.name == "startup"]
    assert len({path.read_text() for path in keys}) == len(NAMES)
    assert secret not in {path.read_text() for path in keys}


def test_another_authority_is_another_federation(kits: Path, tmp_path: Path) -> None:
    make_kits(WANTED, tmp_path / "same", kits / "authority")
    make_kits(WANTED, tmp_path / "other")
    first, same, other = (
        records.read(Kit, folder / "north" / FILE)
        for folder in (kits, tmp_path / "same", tmp_path / "other")
    )
    assert first.federation == same.federation != other.federation


def test_a_folder_that_is_no_authority_is_refused(kits: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no authority"):
        make_kits(WANTED, tmp_path / "kits", kits / "north")
    assert not (tmp_path / "kits").exists()


@pytest.mark.parametrize("site", ["localhost", "a b", "north.example.org"])
def test_a_name_that_nvflare_does_not_take_is_told(tmp_path: Path, site: str) -> None:
    """The first is the coordinator's own."""
    wanted = Wanted(sites=("north", site), host="localhost", port=8102, federation="")
    with pytest.raises(FedNNUNetError, match=f"makes no kits: .*{site}") as caught:
        make_kits(wanted, tmp_path / "kits")
    assert "names of sites" in caught.value.mend
    assert not (tmp_path / "kits").exists()


def test_a_coordinator_begins_with_an_empty_store(kits: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    (store / "old_job").touch()
    use_store(kits / "coordinator", store)
    assert not list(store.iterdir())
    found = json.loads((kits / "coordinator" / "local" / "resources.json").read_text())
    assert found == coordinator_resources(str(store))
