"""Sites that train nothing, for tests of the coordinator's loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import torch

from fednnunet.errors import DataError
from fednnunet.federation.coordinator.engine import Answer, Deadline
from fednnunet.federation.coordinator.rounds import run_rounds
from fednnunet.federation.coordinator.run import Run
from fednnunet.federation.membership import Member
from fednnunet.federation.methods.catalogue import METHODS
from fednnunet.federation.training_spec import Training
from fednnunet.federation.wire.extras import join, split
from fednnunet.federation.wire.messages import Message, TrainInvite, TrainReply
from fednnunet.planning.plan import Architecture, Configuration, Intensity, Plan, Stage
from fednnunet.task import Task

INITIAL = {
    "encoder.0.blocks.0.conv.weight": torch.tensor([1.0, 2.0]).reshape(2, 1, 1, 1, 1),
    "encoder.0.blocks.0.norm.weight": torch.ones(2),
    "heads.0.weight": torch.full((2, 2, 1, 1, 1), 3.0),
}
SITES = ("a", "b", "c")
MEMBERS = {site: Member(cases=i + 1) for i, site in enumerate(SITES)}


def a_plan() -> Plan:
    stages = (
        Stage(features=4, kernel=(3, 3, 3), stride=(1, 1, 1), convs=1, decoder_convs=1),
        Stage(features=8, kernel=(3, 3, 3), stride=(2, 2, 2), convs=1, decoder_convs=0),
    )
    configuration = Configuration(
        name="3d_fullres",
        spacing_mm=(1.0, 1.0, 1.0),
        patch_vox=(8, 8, 8),
        batch=2,
        median_shape_vox=(16.0, 16.0, 16.0),
        normalisation=("zscore",),
        use_mask=(False,),
        architecture=Architecture(kind="plain", stages=stages),
        batch_dice=False,
    )
    intensity = Intensity(
        mean=0, median=0, std=1, min=-1, max=1, percentile_00_5=-1, percentile_99_5=1
    )
    return Plan(
        task=Task(name="t", channels=("MRI",), labels=("background", "a")),
        planner="cpu",
        configurations=(configuration,),
        intensity=(intensity,),
        cases=6,
    )


class PretendEngine:
    """Sites that add a number of their own to every tensor that they are asked to train."""

    sites = SITES

    def __init__(
        self,
        *,
        backwards: bool = False,
        fail: Mapping[int, str] | None = None,
        as_if_without: int = 0,
    ) -> None:
        self.backwards = backwards
        self.as_if_without = as_if_without
        self.fail = fail or {}
        self.asked: list[TrainInvite] = []

    def ask(self, invites: Mapping[str, Message], deadline: Deadline) -> Iterator[Answer]:
        names = sorted(invites, reverse=self.backwards)
        for place, site in enumerate(names):
            invite = invites[site]
            assert isinstance(invite, TrainInvite)
            if place == 0:
                self.asked.append(invite)
            if self.fail.get(invite.round) == site:
                yield Answer(site=site, error=DataError("the disk is full"))
                continue
            yield Answer(site=site, reply=self.reply(site, invite))

    def reply(self, site: str, invite: TrainInvite) -> TrainReply:
        method = METHODS[invite.method]
        tensors = method.outgoing(split(invite.tensors)[0], invite.phase)
        beside = method.extras_like(INITIAL) if invite.phase == "joint" else {}
        number = invite.round - (self.as_if_without if invite.phase == "public" else 0)
        step = (SITES.index(site) + 1) * 0.1 * (number + 1)
        return TrainReply(
            tensors=join(
                {name: t + step for name, t in tensors.items()},
                {name: torch.full_like(t, step) for name, t in beside.items()},
            ),
            run=invite.run,
            round=invite.round,
            phase=invite.phase,
            cases=SITES.index(site) + 1,
            loss=1.0,
            seconds=0.0,
            wait_share=0.0,
            iterations=invite.iterations,
        )


def a_run(folder: Path, method: str = "fedavg", **settings) -> Run:
    training = replace(Training(method=method, rounds=4, public_rounds=2), **settings)
    return Run(name="", folder=folder, plan=a_plan(), training=training)


def go(run: Run, engine: PretendEngine, members: Mapping[str, Member] | None = None):
    return run_rounds(engine, run, INITIAL, members or MEMBERS, lambda record: None)
