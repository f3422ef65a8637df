"""A site's half of a job carries messages until the job is ended; a lost connection is no fault."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("nvflare", reason="pip install 'fednnunet[network]'")

from nvflare.apis.shareable import ReturnCode, Shareable
from nvflare.apis.signal import Signal
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey
from nvflare.fuel.f3.cellnet.defs import ReturnCode as CellReturnCode
from nvflare.fuel.f3.cellnet.utils import make_reply
from nvflare.fuel.f3.message import Message

from fednnunet.federation.engines.network.carry import answer
from fednnunet.federation.engines.network.exchange import FOLDER, Desk, Tray
from fednnunet.federation.engines.network.flare import executor as module
from fednnunet.federation.engines.network.flare.executor import CHANNEL, CarryExecutor
from fednnunet.federation.engines.network.kit import program_version

INVITE = b"invite"
QUESTION = hashlib.sha256(INVITE).hexdigest()


class Cell:
    """A connection to a desk, which fails at the requests numbered in `lost`."""

    def __init__(self, desk: Desk, lost: tuple[int, ...] = ()) -> None:
        self.desk, self.lost = desk, lost
        self.asked: list[str] = []
        self.targets: set[tuple[str, str]] = set()

    def send_request(
        self, *, channel: str, target: str, topic: str, request: Message, **rest: Any
    ) -> Message:
        self.targets.add((channel, target))
        self.asked.append(topic)
        if len(self.asked) in self.lost:
            return make_reply(CellReturnCode.TIMEOUT)
        found = answer(self.desk, "a", program_version(), topic, request.payload)
        reply = make_reply(CellReturnCode.OK, body=dict(found))
        assert reply.get_header(MessageHeaderKey.RETURN_CODE) == CellReturnCode.OK
        return reply


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    found = Desk(tmp_path / "coordinator" / FOLDER)
    found.clear()
    found.put("a", QUESTION, INVITE, 100, None)
    return found


def run(cell: Cell, root: Path, signal: Signal) -> Shareable:
    engine = SimpleNamespace(get_cell=lambda: cell)
    workspace = SimpleNamespace(get_root_dir=lambda: str(root))
    context: Any = SimpleNamespace(
        get_engine=lambda: engine,
        get_job_id=lambda: "job-1",
        get_prop=lambda key: workspace,
    )
    return CarryExecutor().execute("carry", Shareable(), context, signal)


@pytest.mark.parametrize("lost", [(), (1,), (2,), (3, 4)])
def test_messages_are_carried_until_the_job_is_ended(
    desk: Desk, tmp_path: Path, lost: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    cell, tray = Cell(desk, lost), Tray(tmp_path / "site" / FOLDER)

    def work(seconds: float) -> None:
        """What both programs do while the job sleeps."""
        for question in tray.waiting():
            assert tray.invite(question).read_bytes() == INVITE
            tray.put_reply(question, b"reply")
        if desk.reply("a", QUESTION).exists():
            desk.finished.touch()
        assert len(cell.asked) < 50

    monkeypatch.setattr(module.time, "sleep", work)
    found = run(cell, tmp_path / "site", Signal())
    assert found.get_return_code() == ReturnCode.OK
    assert desk.reply("a", QUESTION).read_bytes() == b"reply"
    assert tray.finished.exists()
    assert cell.targets == {(CHANNEL, "server.job-1")}


def test_an_aborted_job_asks_nothing_more(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell, signal = Cell(desk), Signal()
    monkeypatch.setattr(module.time, "sleep", lambda seconds: signal.trigger(True))
    run(cell, tmp_path / "site", signal)
    assert cell.asked == ["next", "invite"]
    run(cell, tmp_path / "site", signal)
    assert cell.asked == ["next", "invite"]


def test_a_job_can_give_the_class_no_arguments() -> None:
    with pytest.raises(TypeError):
        CarryExecutor(folder="/")  # type: ignore[call-arg]
