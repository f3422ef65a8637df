"""A site with five tiny cases, and an attacker in the coordinator's place with valid messages."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fednnunet.federation.methods.catalogue import label
from fednnunet.federation.site.site import Site
from fednnunet.federation.site.wall import LEDGER
from fednnunet.federation.spec import Federation, SiteSpec
from fednnunet.federation.training_spec import Training
from fednnunet.federation.wire.chain import read
from fednnunet.federation.wire.messages import (
    FaultReply,
    Message,
    PrepareInvite,
    PrepareReply,
    TrainInvite,
    pack,
    unpack,
)
from fednnunet.planning.plan import Plan
from fednnunet.task import Task
from fednnunet.training.initial import initial_tensors
from tests.attacks.forging import forged
from tests.end_to_end.tiny import LABELS, make_site
from tests.training.fakes import small_plan

TASK = Task(name="tiny", channels=("MRI",), labels=LABELS)
ITERATIONS = 2
AGREED = {
    "method": "fedbn",
    "rounds": 2,
    "personal_rounds": 1,
    "public_rounds": 1,
    "iterations_per_round": ITERATIONS,
    "device": "cpu",
}


def a_plan(**changes: Any) -> Plan:
    return small_plan(task=TASK, **changes)[0]


@dataclass(frozen=True)
class Victim:
    """The site `north`, and what its federation file says."""

    site: Site
    federation: Federation
    plan: Plan

    @property
    def base(self) -> Path:
        return self.site.base

    def ask(self, message: Message) -> Message:
        return unpack(self.site.answer(pack(message)), sender="north")

    def prepare(self) -> Victim:
        self.site.approve(self.plan)
        invite = PrepareInvite(plan=self.plan, configuration="3d_fullres")
        assert isinstance(self.ask(invite), PrepareReply)
        return self

    @property
    def tensors(self) -> dict[str, Tensor]:
        return initial_tensors(self.plan, "3d_fullres", seed=0)

    @property
    def shared(self) -> dict[str, Tensor]:
        return self.federation.training.method.build().shared(self.tensors)

    def invite(self, number: int, **changes: Any) -> TrainInvite:
        """The honest invite of round `number` to a site that has answered all before."""
        training = self.federation.training
        method = training.method.build()
        phases = training.phases(method, self.tensors)
        phase = phases.of(number)
        start, length = phases.iterations(number, ITERATIONS)
        sent = {"joint": self.shared, "personal": self.shared, "public": self.tensors}[phase]
        honest = TrainInvite(
            tensors=sent,
            run="",
            method=label(training.method),
            round=number,
            phase=phase,
            resume_round=0 if phase == "public" else number,
            iterations=ITERATIONS,
            schedule_start=start,
            schedule_length=length,
        )
        return replace(honest, **changes)

    @property
    def files(self) -> dict[str, bytes]:
        """All that the site holds, but for its log and ledger."""
        return {
            str(path.relative_to(self.base)): path.read_bytes()
            for path in sorted(self.base.rglob("*"))
            if path.is_file() and path.parent != self.base
        }

    def cannot_read(self, honest: Message, **fields: Any) -> None:
        """A message of numbers that none of ours can hold, forged as bytes, changes nothing."""
        before = self.files
        reply = unpack(self.site.answer(forged(honest, lambda f: f | fields)), sender="north")
        assert isinstance(reply, FaultReply) and reply.kind in ("message", "input"), reply
        assert self.files == before

    def refuses(self, message: Message) -> str:
        """The advice of the refusal; nothing may be changed at the site by the message."""
        before = self.files
        reply = self.ask(message)
        assert isinstance(reply, FaultReply), reply
        assert reply.kind == "refusal", reply
        assert self.files == before
        last = read(self.base / LEDGER)[-1]
        assert (last["message"], last["advice"]) == ("FaultReply", reply.advice)
        return reply.advice


def a_victim(root: Path, **training: Any) -> Victim:
    """A site in `root`, whose folder of cases is made where it is not there yet."""
    folder = root / "north"
    if not folder.is_dir():
        make_site(folder, "north")
    spec = SiteSpec(folder=folder)
    federation = Federation(
        task=TASK,
        sites={"north": spec, "south": replace(spec, folder=root / "south")},
        training=Training(**{**AGREED, **training}),
    )
    site = Site("north", federation, root / "base", prepared=root / "prepared")
    return Victim(site=site, federation=federation, plan=a_plan())


def zeros(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
