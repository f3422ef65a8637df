"""Sites that train nothing and speak the protocol of sums under masks."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import torch

from fednnunet.errors import DataError, FedNNUNetError
from fednnunet.federation.coordinator.engine import Answer, Deadline
from fednnunet.federation.coordinator.run import Run
from fednnunet.federation.secure_checks import with_threshold
from fednnunet.federation.site.masking import SiteMasking
from fednnunet.federation.site.policy import SitePolicy
from fednnunet.federation.spec import Federation, SiteSpec
from fednnunet.federation.training_spec import Training
from fednnunet.federation.wire.faults import describe
from fednnunet.federation.wire.messages import FaultReply, Message, TrainInvite, pack, unpack
from fednnunet.federation.wire.secure_messages import MaskedTrainInvite, SecureInvite
from tests.federation.fakes import PretendEngine, a_plan

Lost = Mapping[str, Collection[str]]
"""The sites that give no answer, by the kind of the invite."""


def a_federation(sites: Collection[str] = ("a", "b", "c"), **training) -> Federation:
    values = {"method": "fedavg", "rounds": 2, "public_rounds": 1, "max_update_ratio": 0}
    return Federation(
        task=a_plan().task,
        sites={site: SiteSpec(folder=Path(site)) for site in sites},
        training=Training(**{**values, **training}),
    )


class MaskedEngine(PretendEngine):
    """`PretendEngine`, whose sites answer under masks; every message is packed and read again."""

    def __init__(self, folder: Path, federation: Federation, *, lost: Lost | None = None) -> None:
        super().__init__()
        self.folder, self.federation = folder, federation
        self.lost = dict(lost or {})
        self.seen: list[tuple[str, Message]] = []

    def site(self, name: str) -> SiteMasking:
        return SiteMasking(name, self.folder / name, self.federation, SitePolicy())

    def ask(self, invites: Mapping[str, Message], deadline: Deadline) -> Iterator[Answer]:
        for name in sorted(invites):
            invite = unpack(pack(invites[name]), sender="the coordinator")
            if name in self.lost.get(type(invite).__name__, ()):
                yield Answer(site=name, error=DataError("the connection is gone"))
                continue
            try:
                reply = self._answer(name, invite)
            except FedNNUNetError as error:
                kind, faults, advice = describe(error)
                reply = FaultReply(kind=kind, faults=faults, advice=advice)
            self.seen.append((name, reply))
            yield Answer(site=name, reply=unpack(pack(reply), sender=name))

    def _answer(self, name: str, invite: Message) -> Message:
        site = self.site(name)
        if isinstance(invite, SecureInvite):
            return site.respond(invite)
        assert isinstance(invite, TrainInvite)
        site.check(invite)
        plain = invite.plain if isinstance(invite, MaskedTrainInvite) else invite
        return site.reply(invite, self.reply(name, plain))


def a_masked_run(folder: Path, federation: Federation, **settings) -> Run:
    training = replace(with_threshold(federation.training, federation.invited), **settings)
    return Run(name="", folder=folder, plan=a_plan(), training=training)


def same(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor], tolerance: float):
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=0, atol=tolerance)
