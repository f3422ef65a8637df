"""A site's worker answers what it may begin, waits for its staff, and drops what is taken back."""

from __future__ import annotations

import json
import queue
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fednnunet import records
from fednnunet.errors import FedNNUNetError, StorageError
from fednnunet.federation.engines.network import worker as module
from fednnunet.federation.engines.network.exchange import FOLDER, Tray
from fednnunet.federation.engines.network.kit import FEDERATION, FILE, SETTINGS, Kit, Settings
from fednnunet.federation.engines.network.state import PAUSED
from fednnunet.federation.engines.network.worker import Worker, open_worker
from fednnunet.federation.site import consent
from fednnunet.federation.site.approval import approve
from fednnunet.federation.spec import Federation, SiteSpec
from fednnunet.federation.training_spec import Training
from fednnunet.federation.wire.chain import digest
from fednnunet.federation.wire.messages import (
    FaultReply,
    Message,
    PrepareInvite,
    ShapesInvite,
    TrainInvite,
    pack,
    unpack,
)
from fednnunet.planning.plan import Plan
from tests.federation.fakes import a_plan
from tests.federation.site_fakes import INVITE as TRAIN

SHAPES = ShapesInvite(spacing_mm=(1.0, 1.0, 1.0))
PREPARE = PrepareInvite(plan=a_plan(), configuration="3d_fullres")
ALLOW = '[allow]\nmethods = ["fedavg"]\nmax_rounds = 100\n'


@dataclass
class PretendSite:
    """Answers each invite by its own bytes, and remembers what was approved."""

    base: Path
    answered: list[bytes] = field(default_factory=list)
    failed: list[FedNNUNetError] = field(default_factory=list)

    def answer(self, data: bytes) -> bytes:
        self.answered.append(data)
        return b"reply to " + data

    def fail(self, data: bytes, error: FedNNUNetError) -> bytes:
        self.failed.append(error)
        return b"fault"

    def approve(self, plan: Plan) -> None:
        approve(self.base, plan, rounds=100)


class Naps:
    """Takes the place of sleep: does one thing of `then` at each, and fails after the last."""

    def __init__(self, *then: Callable[[], object]) -> None:
        self.then = list(then)

    def __call__(self, seconds: float) -> None:
        assert self.then, "the worker would wait for ever"
        self.then.pop(0)()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def worker(tmp_path: Path, said: list[str]) -> Worker:
    (tmp_path / "data").mkdir()
    settings = Settings(kit=tmp_path, data=tmp_path / "data", work=tmp_path / "work")
    settings.work.mkdir()
    site: Any = PretendSite(settings.work)
    federation = Federation(
        task=a_plan().task,
        sites={"a": SiteSpec()},
        training=Training(method="fedavg", rounds=4, baselines=()),
    )
    return Worker(
        site=site,
        federation=federation,
        settings=settings,
        tray=Tray(tmp_path / FOLDER),
        say=said.append,
    )


def receive(worker: Worker, invite: Message) -> str:
    data = pack(invite)
    path = worker.tray.invite(digest(data))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path.name


def is_answered(worker: Worker, question: str) -> bool:
    return worker.tray.reply(question).exists()


def policy(worker: Worker, text: str) -> None:
    (worker.settings.data / "site.toml").write_text(text)


def nap(monkeypatch: pytest.MonkeyPatch, *then: Callable[[], object]) -> Naps:
    naps = Naps(*then)
    monkeypatch.setattr(module.time, "sleep", naps)
    return naps


def test_an_invite_is_answered_by_the_sites_own_bytes(worker: Worker) -> None:
    question = receive(worker, SHAPES)
    worker.answer(question)
    assert worker.tray.reply(question).read_bytes() == b"reply to " + pack(SHAPES)


def test_an_invite_that_was_taken_back_is_not_answered(worker: Worker) -> None:
    question = receive(worker, SHAPES)
    worker.tray.discard(question)
    worker.answer(question)
    assert worker.tray.questions() == frozenset()
    assert not worker.site.answered  # type: ignore[attr-defined]


def test_bytes_that_are_no_message_are_left_to_the_site(worker: Worker) -> None:
    path = worker.tray.invite(digest(b"no message"))
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no message")
    worker.answer(path.name)
    assert is_answered(worker, path.name)  # the site itself refuses them, in its ledger


def test_a_paused_site_begins_once_it_is_resumed(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    paused, question = worker.settings.work / PAUSED, receive(worker, SHAPES)
    paused.touch()
    naps = nap(monkeypatch, lambda: None, lambda: is_answered(worker, question) or paused.unlink())
    worker.answer(question)
    assert is_answered(worker, question) and not naps.then


def test_a_paused_site_drops_what_is_taken_back(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = receive(worker, SHAPES)
    (worker.settings.work / PAUSED).touch()
    nap(monkeypatch, lambda: worker.tray.discard(question))
    worker.answer(question)
    assert worker.tray.questions() == frozenset()


def test_training_waits_for_the_hours_of_the_site(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours = iter([False, False, True])
    monkeypatch.setattr(Worker, "_is_open", lambda self: next(hours))
    worker.answer(receive(worker, SHAPES))  # a small request is answered at all hours
    question = receive(worker, TRAIN)
    assert isinstance(TRAIN, TrainInvite)
    naps = nap(monkeypatch, lambda: None, lambda: None)
    worker.answer(question)
    assert is_answered(worker, question) and not naps.then


def test_a_plan_within_the_policy_needs_no_person(worker: Worker, said: list[str]) -> None:
    policy(worker, ALLOW)
    question = receive(worker, PREPARE)
    worker.answer(question)
    assert is_answered(worker, question) and not said


@pytest.mark.parametrize("allow", ["", ALLOW.replace("fedavg", "fedprox")])
def test_a_plan_beyond_the_policy_waits_for_a_person(
    worker: Worker, said: list[str], allow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy(worker, allow)
    question, asked = receive(worker, PREPARE), []

    def decide() -> None:
        asked.append(consent.read_request(worker.settings.work))
        assert not is_answered(worker, question)
        approve(worker.settings.work, PREPARE.plan, rounds=100)

    nap(monkeypatch, lambda: None, decide)
    worker.answer(question)
    assert is_answered(worker, question)
    (request,) = asked
    assert request is not None and request.plan == PREPARE.plan and request.reasons
    assert "--approve" in said[0]
    assert consent.read_request(worker.settings.work) is None


def test_a_plan_that_is_taken_back_asks_nobody_any_more(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = receive(worker, PREPARE)
    nap(monkeypatch, lambda: worker.tray.discard(question))
    worker.answer(question)
    assert worker.tray.questions() == frozenset()
    assert consent.read_request(worker.settings.work) is None


def test_a_full_disk_keeps_the_reply_waiting(
    worker: Worker, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    question = receive(worker, SHAPES)
    put, full = Tray.put_reply, [StorageError("the disk is full"), None]

    def put_reply(tray: Tray, name: str, data: bytes) -> None:
        if fault := full.pop(0):
            raise fault
        put(tray, name, data)

    monkeypatch.setattr(Tray, "put_reply", put_reply)
    naps = nap(monkeypatch, lambda: None)
    worker.answer(question)
    assert is_answered(worker, question) and not naps.then
    assert len(said) == 1 and "the disk is full" in said[0]


def test_a_request_that_ended_a_worker_is_answered_by_a_fault(worker: Worker) -> None:
    question = receive(worker, SHAPES)
    worker.answer_for_killed(question)
    assert worker.tray.reply(question).read_bytes() == b"fault"
    (error,) = worker.site.failed  # type: ignore[attr-defined]
    assert "lack of memory" in error.what and "memory_gib" in error.mend


def a_kit(folder: Path) -> Settings:
    """A kit of the site `a`, without what NVFlare needs."""
    task = a_plan().task
    channels, labels = (json.dumps(list(names)) for names in (task.channels, task.labels))
    records.write(
        Kit(role="site", name="a", federation="0" * 64, host="localhost", port=8102),
        folder / FILE,
    )
    (folder / FEDERATION).write_text(
        f'[task]\nname = "{task.name}"\nchannels = {channels}\nlabels = {labels}\n'
        '[sites.a]\n[network]\nhost = "localhost"\n'
    )
    settings = Settings(kit=folder, data=folder / "data", work=folder / "work")
    settings.data.mkdir()
    records.write(settings, folder / SETTINGS)
    return settings


def test_a_worker_of_a_kit_answers_through_the_sites_wall(tmp_path: Path) -> None:
    worker = open_worker(a_kit(tmp_path), lambda text: None)
    question = receive(worker, SHAPES)
    worker.answer_for_killed(question)
    reply = unpack(worker.tray.reply(question).read_bytes(), sender="site a")
    assert isinstance(reply, FaultReply)


def test_a_site_that_cannot_be_opened_says_why_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a_kit(tmp_path)
    (tmp_path / FILE).unlink()
    monkeypatch.setattr(module, "end_with_parent", queue.Queue)
    assert module.main([str(tmp_path)]) == 2
    (line,) = capsys.readouterr().out.splitlines()
    word, _, rest = line.partition(" ")
    what, where, mend = json.loads(rest)
    assert word == "error" and "no start-up kit" in what and where and mend
