"""Over NVFlare and TLS: what was not asked for, comes late or twice is refused, at both sides.

`north` is a real site, whose coordinator does not keep to what was agreed. `south` is NVFlare's
program alone: what it answers is made up here, as by somebody who has the site's kit.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from fednnunet.federation.coordinator.exchange import Failed, Received, Waiting, receive
from fednnunet.federation.coordinator.reply_checks import ReplyChecks
from fednnunet.federation.coordinator.update_bound import UpdateBound
from fednnunet.federation.engines.network import children
from fednnunet.federation.engines.network.coordinator import Kits, connected
from fednnunet.federation.engines.network.engine import NetworkEngine
from fednnunet.federation.engines.network.exchange import FOLDER, Desk, Tray
from fednnunet.federation.engines.network.federation_file import read_network_federation
from fednnunet.federation.engines.network.kit import read_kit
from fednnunet.federation.engines.network.service import NODE
from fednnunet.federation.membership import Member
from fednnunet.federation.wire import chain
from fednnunet.federation.wire.messages import (
    Message,
    PrepareInvite,
    PrepareReply,
    TrainInvite,
    TrainReply,
    pack,
)
from fednnunet.federation.workflows.train import check_runs
from fednnunet.planning.plan import Plan, read_plan
from fednnunet.training.initial import initial_tensors

pytestmark = [pytest.mark.network, pytest.mark.timeout(600)]

LONG = Waiting(deadline_s=240.0)


@dataclass(frozen=True, slots=True)
class Asker:
    """A coordinator that asks one site whatever it likes."""

    engine: NetworkEngine

    def __call__(self, site: str, invite: Message, kind: type[Any], **more: Any) -> Any:
        """The reply, or what is wrong with it, in words."""
        waiting = more.pop("waiting", LONG)
        for outcome in receive(self.engine, {site: invite}, kind, waiting=waiting, **more):
            return outcome.reply if isinstance(outcome, Received) else _words(outcome)
        raise AssertionError("nothing came")


def _words(outcome: object) -> str:
    assert isinstance(outcome, Failed)
    return f"{outcome.error.what} {outcome.error.mend}"


class Impostor(threading.Thread):
    """Answers what lies in a tray by `data`, after `delay_s`; `asked` are the questions."""

    def __init__(self, tray: Tray) -> None:
        super().__init__(daemon=True)
        self.tray, self.data, self.delay_s = tray, b"", 0.0
        self.asked: list[str] = []
        self.end = threading.Event()

    def run(self) -> None:
        while not self.end.wait(0.05):
            for question in self.tray.waiting():
                if (data := self.data) and question not in self.asked:
                    self.asked.append(question)
                    time.sleep(self.delay_s)
                    self.tray.put_reply(question, data)


@contextmanager
def federation_of(network: Any, root: Path) -> Iterator[tuple[Asker, Impostor, Desk]]:
    """The coordinator in this process, `north` with all its programs, `south` with NVFlare's."""
    from fednnunet.federation.engines.network.flare.provision import use_store

    kit = network.kits / "coordinator"
    use_store(kit, root / "store")
    kits = Kits(coordinator=kit, admin=network.kits / "admin", kit=read_kit(kit, "coordinator"))
    federation, address = read_network_federation(network.federation)
    network.start_site("north")
    south = network.kits / "south"
    node = children.start(NODE, ["site", str(south)], log=root / "south_node.log")
    impostor = Impostor(Tray(south / FOLDER))
    impostor.start()
    try:
        with connected(kits, federation, address) as engine:
            yield Asker(engine), impostor, Desk(kit / FOLDER)
    finally:
        impostor.end.set()
        children.end(node)


def test_neither_side_takes_what_was_not_agreed(tiny_network: Any, tmp_path: Path) -> None:
    federation, _ = read_network_federation(tiny_network.federation)
    plan = read_plan(tmp_path / "run" / "plan.json")
    run = check_runs(federation, plan, tmp_path / "run")[0]
    configuration = federation.training.configuration
    initial = initial_tensors(plan, configuration, seed=federation.training.seed)
    invite = TrainInvite(
        tensors=run.method.shared(initial),
        run="",
        method=run.method_name,
        round=0,
        phase="joint",
        resume_round=0,
        iterations=2,
        schedule_start=0,
        schedule_length=4,
    )
    with federation_of(tiny_network, tmp_path) as (ask, impostor, desk):
        prepare = PrepareInvite(plan=plan, configuration=configuration)
        impostor.data = pack(PrepareReply(training_cases=4, held_out_cases=1))
        both = dict.fromkeys(("north", "south"), prepare)  # so that one job has both
        ready = list(receive(ask.engine, both, PrepareReply, waiting=LONG))
        assert [type(each) for each in ready] == [Received, Received], ready
        reply = _a_site_obeys_its_own_file(ask, invite)
        entries = chain.read(tiny_network.work("north") / chain.FILE)
        assert [e.get("fault") for e in entries] == [None, *["refusal"] * 5, None, "refusal", None]
        _a_coordinator_takes_what_it_asked_for(ask, impostor, desk, (plan, invite, reply))


def _a_site_obeys_its_own_file(ask: Asker, invite: TrainInvite) -> TrainReply:
    """`north` refuses each other request, and answers the agreed one once, by the same bytes."""
    one = next(iter(invite.tensors))
    others: Mapping[str, TrainInvite] = {
        "another method": replace(invite, method="fedavg"),
        "another run": replace(invite, run="baselines/local"),
        "more iterations": replace(invite, iterations=500),
        "a tensor more": replace(invite, tensors={**invite.tensors, "more": torch.ones(2)}),
        "another shape": replace(invite, tensors={**invite.tensors, one: torch.ones(2)}),
    }
    for name, other in others.items():
        found = ask("north", other, TrainReply)
        assert isinstance(found, str) and "refuse" in found, (name, found)
    first = ask("north", invite, TrainReply)
    assert isinstance(first, TrainReply), first
    changed = {name: tensor + 1e-3 for name, tensor in invite.tensors.items()}
    found = ask("north", replace(invite, tensors=changed), TrainReply)
    assert isinstance(found, str) and "refuse" in found  # this round was answered
    again = ask("north", invite, TrainReply)
    assert pack(again) == pack(first)
    return first


def _a_coordinator_takes_what_it_asked_for(
    ask: Asker, impostor: Impostor, desk: Desk, asked: tuple[Plan, TrainInvite, TrainReply]
) -> None:
    """Replies of `south` that are of another question, late or doubled count for nothing."""
    plan, invite, honest = asked
    impostor.asked.clear()

    def try_it(number: int, data: bytes, waiting: Waiting = LONG) -> Any:
        impostor.data = data
        own = replace(invite, round=number)
        return ask("south", own, TrainReply, decode=_checks(own, plan), waiting=waiting)

    good = replace(honest, cases=4)
    for number, changes, words in (
        (1, {}, "the reply is of round 1, not of round 2"),  # an earlier one, sent again
        (2, {"round": 2, "run": "baselines/local"}, "the reply is of run"),
        (3, {"round": 3, "phase": "personal"}, "and phase personal"),
        (4, {"round": 4, "tensors": {**honest.tensors, "more": torch.ones(2)}}, "not asked for"),
        (5, {"round": 5, "cases": 400}, "400 training cases"),
    ):
        found = try_it(number, pack(replace(good, **changes)))
        assert isinstance(found, str) and words in found, found
    assert "cannot be read" in try_it(6, b"no message at all")
    impostor.delay_s = 5.0
    found = try_it(7, pack(replace(good, round=7)), Waiting(deadline_s=2.0))
    assert "late" in found
    late = impostor.asked[-1]
    impostor.delay_s = 0.0
    found = try_it(8, pack(replace(good, round=8)))
    assert isinstance(found, TrainReply) and found.round == 8
    assert not desk.reply("south", late).exists()
    impostor.tray.put_reply(impostor.asked[-1], pack(replace(good, round=8)))  # once more
    found = try_it(9, pack(replace(good, round=9)))
    assert isinstance(found, TrainReply) and found.round == 9
    assert impostor.tray.questions() <= {impostor.asked[-1]}
    assert not [path for path in desk.root.glob("from/south/*") if path.is_file()]


def _checks(invite: TrainInvite, plan: Plan) -> Any:
    return ReplyChecks(
        invites={"south": invite},
        members={"south": Member(cases=4)},
        targets=len(plan.task.targets),
        trained=invite.tensors,
        extras={},
        filters=(),
        bound=UpdateBound(ratio=0.0, iterations=2),
    ).accept
