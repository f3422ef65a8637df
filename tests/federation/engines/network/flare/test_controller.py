"""The coordinator's half of a job answers those whom NVFlare gave a token, and nobody else."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("nvflare", reason="pip install 'fednnunet[network]'")

from nvflare.apis.client import Client
from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.signal import Signal
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey, ReturnCode
from nvflare.fuel.f3.cellnet.utils import new_cell_message
from nvflare.fuel.f3.message import Message
from nvflare.private.defs import CellMessageHeaderKeys

from fednnunet.federation.engines.network.exchange import FOLDER, Desk
from fednnunet.federation.engines.network.flare import controller as module
from fednnunet.federation.engines.network.flare.controller import CHANNEL, CarryController
from fednnunet.federation.engines.network.flare.job import TASK
from fednnunet.federation.engines.network.kit import program_version


class Context:
    """As much of NVFlare's context as the controller uses; the sites are `a` and `b`."""

    def __init__(self, root: Path) -> None:
        clients = {token: Client(name, token) for name, token in (("a", "1"), ("b", "2"))}
        self.registered: dict[str, Any] = {}
        cell = SimpleNamespace(register_request_cb=lambda **named: self.registered.update(named))
        manager = SimpleNamespace(clients=clients)
        self._engine = SimpleNamespace(
            server=SimpleNamespace(client_manager=manager), get_cell=lambda: cell
        )
        self._workspace = SimpleNamespace(get_root_dir=lambda: str(root))

    def get_engine(self) -> Any:
        return self._engine

    def get_prop(self, key: str) -> Any:
        assert key == FLContextKey.WORKSPACE_OBJECT
        return self._workspace


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    found = Desk(tmp_path / FOLDER)
    found.clear()
    return found


@pytest.fixture
def started(desk: Desk, tmp_path: Path) -> tuple[CarryController, Context]:
    controller, context = CarryController(), Context(tmp_path)
    controller.start_controller(context)
    return controller, context


def request(name: str, token: str | None, kind: str = "next", **fields: object) -> Message:
    headers = {MessageHeaderKey.TOPIC: kind, CellMessageHeaderKeys.CLIENT_NAME: name}
    if token is not None:
        headers[CellMessageHeaderKeys.TOKEN] = token
    return new_cell_message(headers, {"version": program_version(), **fields})


def test_each_site_is_told_what_is_wanted_of_it(
    started: tuple[CarryController, Context], desk: Desk
) -> None:
    question = hashlib.sha256(b"invite").hexdigest()
    desk.put("a", question, b"invite", 100, None)
    _, context = started
    assert (context.registered["channel"], context.registered["topic"]) == (CHANNEL, "*")
    answer = context.registered["cb"]
    of_a, of_b = answer(request("a", "1")), answer(request("b", "2"))
    assert of_a.get_header(MessageHeaderKey.RETURN_CODE) == ReturnCode.OK
    assert of_a.payload["wanted"] == [[question, 6, 100]] and of_b.payload["wanted"] == []
    given = answer(request("a", "1", "invite", question=question, offset=2))
    assert given.payload == {"data": b"vite"}
    assert desk.alive() == {"a", "b"}


@pytest.mark.parametrize(("name", "token"), [("a", None), ("a", "3"), ("a", "2"), ("c", "1")])
def test_a_name_without_its_token_is_answered_nothing(
    started: tuple[CarryController, Context], desk: Desk, name: str, token: str | None
) -> None:
    desk.put("a", "0" * 64, b"invite", 100, None)
    found = started[1].registered["cb"](request(name, token))
    assert found.get_header(MessageHeaderKey.RETURN_CODE) == ReturnCode.AUTHENTICATION_ERROR
    assert not found.payload
    assert desk.alive() == frozenset()


def test_after_its_end_a_job_answers_no_more(started: tuple[CarryController, Context]) -> None:
    controller, context = started
    controller.stop_controller(context)
    found = context.registered["cb"](request("a", "1"))
    assert found.get_header(MessageHeaderKey.RETURN_CODE) == ReturnCode.AUTHENTICATION_ERROR


@pytest.mark.parametrize("mark", ["closing", "finished", "aborted"])
def test_a_job_lasts_until_it_is_ended(
    started: tuple[CarryController, Context],
    desk: Desk,
    mark: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    controller, context = started
    tasks: list[tuple[str, int]] = []
    signal = Signal()
    looks: list[float] = []

    def look(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            signal.trigger(True) if mark == "aborted" else getattr(desk, mark).touch()

    monkeypatch.setattr(module.time, "sleep", look)
    monkeypatch.setattr(
        controller,
        "broadcast",
        lambda task, context, min_responses: tasks.append((task.name, min_responses)),
    )
    controller.control_flow(signal, context)
    assert tasks == [(TASK, 0)]
    assert len(looks) in (3, 4)
