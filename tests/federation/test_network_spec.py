"""The coordinator's address is a host name and a port that needs no special right."""

from __future__ import annotations

import pytest

from fednnunet.errors import InputError
from fednnunet.federation.network_spec import Network


@pytest.mark.parametrize("host", ["localhost", "a", "10.0.0.7", "coordinator-1.example.org"])
def test_host_names_and_addresses_are_taken(host: str) -> None:
    found = Network(host=host)
    assert (found.port, found.limit_hours) == (8102, 48.0)


@pytest.mark.parametrize(
    "host", ["", "a b", "https://example.org", "a:8102", "-a", "a.", "a" * 64, "a\n", "../a"]
)
def test_what_is_no_host_name_is_refused(host: str) -> None:
    with pytest.raises(InputError, match="is no host name") as caught:
        Network(host=host)
    assert "localhost" in caught.value.mend


@pytest.mark.parametrize("port", [-1, 0, 80, 1023, 65536])
def test_ports_that_need_rights_or_are_none_are_refused(port: int) -> None:
    with pytest.raises(InputError, match=f"port is {port}"):
        Network(host="a", port=port)
    assert Network(host="a", port=1024).port == 1024


@pytest.mark.parametrize("hours", [0.0, -1.0, 8761.0, float("nan"), float("inf")])
def test_a_limit_is_above_nothing_and_below_a_year(hours: float) -> None:
    with pytest.raises(InputError, match="limit_hours"):
        Network(host="a", limit_hours=hours)
    assert Network(host="a", limit_hours=8760.0).limit_hours == 8760.0
