"""The messages of secure aggregation (`federation.secure.protocol`), in the order of its steps.

What is asked under masks is the plain request with the session and the partners in it, so that a
site holds it against the same agreement; the reply has a vector of masked words in place of its
tensors.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from fednnunet.errors import ReplyError
from fednnunet.federation.secure.fixed_point import word_of
from fednnunet.federation.secure.protocol import Hex, PublicKeys, Revealed
from fednnunet.federation.wire.message import SAME_VERSION, Message, Name, Round
from fednnunet.federation.wire.planning_messages import (
    FingerprintReply,
    MeasureInvite,
    ShapesInvite,
    ShapesReply,
)
from fednnunet.federation.wire.training_messages import TrainInvite, TrainReply
from fednnunet.ranges import AtMost, Within

Topic = Literal["fingerprint", "shapes", "training"]
"""What is summed under masks."""
Session = Annotated[str, AtMost(64)]
Sites = Annotated[tuple[str, ...], AtMost(4096)]

_MASKED = "masked"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysInvite(Message):
    """Step 1: asks for public keys of a new session."""

    words: ClassVar[str] = "request: public keys for a sum under masks"
    topic: Topic
    session: Session
    run: Name = ""
    round: Round = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysReply(Message):
    """The site's public keys of the session, signed."""

    words: ClassVar[str] = "public keys for a sum under masks, which tell nothing of any case"
    keys: PublicKeys


@dataclass(frozen=True, slots=True, kw_only=True)
class SharesInvite(Message):
    """Step 2: the public keys of all sites; asks for sealed shares, `threshold` of which count."""

    words: ClassVar[str] = "request: sealed shares of the seeds of masks"
    topic: Topic
    session: Session
    run: Name = ""
    round: Round = 0
    threshold: Annotated[int, Within(1, 4096)]
    roster: Annotated[dict[str, PublicKeys], AtMost(4096)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SharesReply(Message):
    """A share for each site, which that site alone can read."""

    words: ClassVar[str] = "shares of the seed of a mask and of a key, each sealed for one site"
    sealed: Annotated[dict[str, Hex], AtMost(4096)]


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedMeasureInvite(MeasureInvite):
    """Step 3 for the fingerprint."""

    words: ClassVar[str] = "request: additive statistics of your cases, under masks"
    session: Session
    partners: Sites


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedFingerprintReply(FingerprintReply):
    """The site's fingerprint under masks, `tensors["masked"]`."""

    words: ClassVar[str] = (
        "sums over all cases, under masks: random numbers but for the sum over all sites"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedShapesInvite(ShapesInvite):
    """Step 3 for the histogram of resampled shapes."""

    words: ClassVar[str] = "request: histogram of resampled shapes, under masks"
    session: Session
    partners: Sites


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedShapesReply(ShapesReply):
    """The histogram of resampled shapes under masks, `tensors["masked"]`."""

    words: ClassVar[str] = (
        "histogram of the shapes after resampling, under masks: random numbers but for the sum "
        "over all sites"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedTrainInvite(TrainInvite):
    """Step 3 for a round of training; `total` is the sum of the partners' weights in the mean."""

    words: ClassVar[str] = "the federation's shared weights; asks for the change under masks"
    session: Session
    partners: Sites
    total: Annotated[float, Within(1e-9, 1e15)]

    @classmethod
    def of(
        cls, invite: TrainInvite, *, session: str, partners: tuple[str, ...], total: float
    ) -> MaskedTrainInvite:
        """A plain invite with what makes it a masked one."""
        given = {field.name: getattr(invite, field.name) for field in fields(TrainInvite)}
        return cls(**given, session=session, partners=partners, total=total)

    @property
    def plain(self) -> TrainInvite:
        """The same invite without masks: what the site does in the round depends on it alone."""
        return TrainInvite(
            **{field.name: getattr(self, field.name) for field in fields(TrainInvite)}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedTrainReply(TrainReply):
    """What leaves after a round under masks: the change of the weights as `tensors["masked"]`.

    No loss and no overlap goes with it.
    """

    words: ClassVar[str] = (
        "the change of the shared weights under masks: random numbers but for the sum over the "
        "sites; numbers of training cases and of those without labels, timings"
    )

    @property
    def plain(self) -> TrainReply:
        """The figures as a plain reply, without any tensors."""
        names = [field.name for field in fields(TrainReply) if field.name != "tensors"]
        return TrainReply(**{name: getattr(self, name) for name in names})


@dataclass(frozen=True, slots=True, kw_only=True)
class UnmaskInvite(Message):
    """Step 4: whose vectors are in the sum, and the shares that partners sealed for the site."""

    words: ClassVar[str] = "request: shares that remove the masks from a sum"
    topic: Topic
    session: Session
    run: Name = ""
    round: Round = 0
    survivors: Sites
    sealed: Annotated[dict[str, Hex], AtMost(4096)]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnmaskReply(Message):
    """The site's shares: of the seeds of those in the sum, of the mask keys of the others."""

    words: ClassVar[str] = (
        "shares that remove the masks from the sum over the sites, and from no single reply"
    )
    revealed: Revealed


SecureInvite = KeysInvite | SharesInvite | UnmaskInvite
"""An invite that asks for nothing of the cases."""
MaskedInvite = MaskedMeasureInvite | MaskedShapesInvite | MaskedTrainInvite
"""An invite that asks for a vector under masks."""
SECURE_KINDS = (
    KeysInvite,
    KeysReply,
    SharesInvite,
    SharesReply,
    MaskedMeasureInvite,
    MaskedFingerprintReply,
    MaskedShapesInvite,
    MaskedShapesReply,
    MaskedTrainInvite,
    MaskedTrainReply,
    UnmaskInvite,
    UnmaskReply,
)


def masked_tensors(words: np.ndarray) -> dict[str, Tensor]:
    """Unsigned words (n,) as a message's tensors: signed, since not all formats have unsigned."""
    signed = np.int32 if words.itemsize == 4 else np.int64
    return {_MASKED: torch.from_numpy(words.view(signed))}


def masked_words(reply: Message, size: int, bits: int, *, site: str) -> np.ndarray:
    """The `size` words of a masked reply; raises ReplyError for any other content."""
    found = reply.tensors.get(_MASKED)
    wanted = torch.int32 if bits == 32 else torch.int64
    if len(reply.tensors) != 1 or found is None or found.dtype != wanted or found.shape != (size,):
        raise ReplyError(
            f"the reply is not one vector of {size} masked words of {bits} bits",
            where=f"reply of site {site}",
            mend=SAME_VERSION,
        )
    words: np.ndarray = found.numpy().view(word_of(bits))
    return words
