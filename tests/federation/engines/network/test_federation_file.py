"""A network's federation file: no folder of a site, and where the coordinator is."""

from __future__ import annotations

from pathlib import Path

import pytest

from fednnunet.errors import FedNNUNetError, InputError
from fednnunet.federation.engines.network.federation_file import at_site, read_network_federation
from fednnunet.federation.spec import read_federation
from tests.end_to_end.tiny import TOML

NETWORK = '\n[network]\nhost = "localhost"\nport = 8102\n'
BARE = "\n".join(line for line in TOML.splitlines() if not line.startswith("folder"))


def write(folder: Path, text: str) -> Path:
    path = folder / "federation.toml"
    path.write_text(text)
    return path


def test_sites_without_folders_can_be_used(tmp_path: Path) -> None:
    federation, network = read_network_federation(write(tmp_path, BARE + NETWORK))
    assert (network.host, network.port) == ("localhost", 8102)
    own = at_site(federation, "north", tmp_path, None)
    assert own.sites["north"].folder == tmp_path.resolve()
    assert own.sites["south"] == federation.sites["south"]


def test_all_faults_are_told_together(tmp_path: Path) -> None:
    text = TOML.replace("[sites.south]", "[sites.admin]")
    with pytest.raises(FedNNUNetError) as caught:
        read_network_federation(write(tmp_path, text))
    told = str(caught.value)
    assert "folder or policy of site north" in told and "called admin" in told
    assert "where the coordinator is" in told


def test_a_kit_of_another_site_is_refused(tmp_path: Path) -> None:
    federation, _ = read_network_federation(write(tmp_path, BARE + NETWORK))
    with pytest.raises(InputError, match="no site east"):
        at_site(federation, "east", tmp_path, None)


def test_a_simulation_needs_the_folders(tmp_path: Path) -> None:
    with pytest.raises(FedNNUNetError, match="has no folder"):
        read_federation(write(tmp_path, BARE + NETWORK))


@pytest.mark.parametrize(
    "table", ['host = "a b"', 'host = "x"\nport = 80', 'host = "x"\nlimit_hours = 0']
)
def test_bad_addresses_are_refused(tmp_path: Path, table: str) -> None:
    with pytest.raises(FedNNUNetError):
        read_network_federation(write(tmp_path, f"{BARE}\n[network]\n{table}\n"))


def test_a_given_start_is_refused(tmp_path: Path) -> None:
    assert "rounds = " in BARE
    text = BARE.replace("[training]", f'[training]\nstart = "{"0" * 64}"')
    with pytest.raises(InputError, match="cannot start from given weights yet") as caught:
        read_network_federation(write(tmp_path, text + NETWORK))
    assert caught.value.where == "training.start" and "--from" in caught.value.mend
