"""A federation whose sites are folders of this machine."""

from __future__ import annotations

import pytest

from fednnunet.errors import FedNNUNetError, InputError
from fednnunet.federation.spec import Federation, read_federation
from fednnunet.federation.workflows.simulation import SITES, simulation_engine
from tests.end_to_end.tiny import make_federation


@pytest.fixture
def federation(tmp_path) -> Federation:
    return read_federation(make_federation(tmp_path / "hospitals"))


def test_every_site_works_in_a_folder_of_its_own(federation, tmp_path):
    engine = simulation_engine(federation, tmp_path / "run")
    assert engine.sites == ("north", "south", "west")
    bases = {name: engine.local(name).base for name in engine.sites}
    assert bases == {name: tmp_path / "run" / SITES / name for name in engine.sites}


def test_sites_may_be_left_out(federation, tmp_path):
    assert simulation_engine(federation, tmp_path, without={"south"}).sites == ("north", "west")


def test_leaving_out_a_site_that_is_not_there_is_an_error(federation, tmp_path):
    with pytest.raises(InputError, match="there is no site east") as caught:
        simulation_engine(federation, tmp_path, without={"east"})
    assert "north, south, west" in caught.value.mend


def test_faults_of_all_sites_come_at_once_with_their_names(federation, tmp_path):
    for name in ("north", "west"):
        (federation.sites[name].folder / "site.toml").write_text("min_cases = 0\n")
    with pytest.raises(FedNNUNetError) as caught:
        simulation_engine(federation, tmp_path)
    told = str(caught.value)
    assert "north" in told and "west" in told and "south" not in told
