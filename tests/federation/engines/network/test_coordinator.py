"""The coordinator's two processes: their end is noticed, and the sites hear of the end of all."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fednnunet.errors import FedNNUNetError, InputError
from fednnunet.federation.coordinator.engine import Deadline
from fednnunet.federation.engines.network import coordinator
from fednnunet.federation.engines.network.coordinator import Kits, check_port, connected
from fednnunet.federation.engines.network.exchange import FOLDER, Desk
from fednnunet.federation.engines.network.kit import Kit
from fednnunet.federation.network_spec import Network
from fednnunet.federation.spec import Federation, SiteSpec
from fednnunet.federation.wire.messages import ShapesInvite
from tests.federation.fakes import a_plan

CHILD = "tests.federation.engines.network.fake_child"
FEDERATION = Federation(task=a_plan().task, sites={"b": SiteSpec(), "a": SiteSpec()})
KIT = Kit(role="coordinator", name="coordinator", federation="0" * 64, host="localhost", port=8102)


def free_port() -> int:
    with socket.create_server(("localhost", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def kits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kits]:
    """Kits whose processes are children that do nothing."""
    monkeypatch.setattr(coordinator, "NODE", CHILD)
    monkeypatch.setattr(coordinator, "KEEPER", CHILD)
    monkeypatch.setattr(coordinator, "_LOOK_S", 0.02)
    monkeypatch.setattr(coordinator, "_END_S", 0.0)
    yield Kits(
        coordinator=tmp_path / "coordinator",
        admin=tmp_path / "admin",
        kit=replace(KIT, port=free_port()),
    )


def test_the_sites_are_told_that_all_is_done(kits: Kits) -> None:
    desk = Desk(kits.coordinator / FOLDER)
    network = Network(host="localhost")
    with connected(kits, FEDERATION, network) as engine:
        assert engine.sites == ("a", "b")
        assert not desk.finished.exists()
    assert desk.finished.exists() and not desk.problem.exists()
    with connected(kits, FEDERATION, network):
        assert not desk.finished.exists()  # a new coordinator begins with an empty folder


def test_the_end_waits_for_the_sites_that_take_part(
    kits: Kits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coordinator, "_END_S", 60.0)
    desk = Desk(kits.coordinator / FOLDER)
    with connected(kits, FEDERATION, Network(host="localhost")):
        desk.touch("a")
        hears = threading.Timer(0.3, lambda: desk.inform("a"))
        hears.start()
    assert desk.informed() == {"a"} and not hears.is_alive()


def test_an_interrupted_coordinator_tells_no_end(kits: Kits) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        connected(kits, FEDERATION, Network(host="localhost")),
    ):
        raise KeyboardInterrupt
    assert not Desk(kits.coordinator / FOLDER).finished.exists()


def test_a_process_that_ends_by_itself_ends_the_waiting(
    kits: Kits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coordinator, "KEEPER", "no_such_module_here")
    with connected(kits, FEDERATION, Network(host="localhost")) as engine:
        invite = ShapesInvite(spacing_mm=(1.0, 1.0, 1.0))
        with pytest.raises(FedNNUNetError, match=r"ended, see .*keeper\.log") as caught:
            list(engine.ask({"a": invite}, Deadline(60)))
        assert "run the same command again" in " ".join(caught.value.mend.split())
    assert "no_such_module_here" in (kits.logs / "keeper.log").read_text()


def test_both_processes_are_ended(kits: Kits, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    start = coordinator.children.start

    def remember(*args, **named):
        started.append(start(*args, **named))
        return started[-1]

    monkeypatch.setattr(coordinator.children, "start", remember)
    with connected(kits, FEDERATION, Network(host="localhost")):
        assert len(started) == 2
    assert all(child.poll() is not None for child in started)


def test_a_port_in_use_and_an_unknown_host_have_their_own_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with (
        socket.create_server(("localhost", 0)) as server,
        pytest.raises(InputError, match="in use by another program"),
    ):
        check_port(replace(KIT, port=server.getsockname()[1]), seconds=0.0)
    check_port(replace(KIT, port=free_port()))
    earlier = socket.create_server(("localhost", 0))
    monkeypatch.setattr(coordinator.time, "sleep", lambda seconds: earlier.close())
    check_port(replace(KIT, port=earlier.getsockname()[1]), seconds=60.0)  # it ends meanwhile
    for fault, words in (
        (socket.gaierror("unknown"), "no machine is known as nowhere"),
        (OSError(99, "Cannot assign requested address"), "cannot be reached as nowhere:8102"),
    ):

        def refuse(*args: object, fault: OSError = fault) -> None:
            raise fault

        monkeypatch.setattr(coordinator.socket, "create_server", refuse)
        with pytest.raises(InputError, match=words) as caught:
            check_port(replace(KIT, host="nowhere"))
        assert "network.host" in caught.value.mend
