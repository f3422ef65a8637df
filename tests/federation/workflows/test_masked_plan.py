from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from fednnunet.errors import FedNNUNetError
from fednnunet.federation.coordinator.engine import Answer, Deadline
from fednnunet.federation.secure_spec import Planning
from fednnunet.federation.site.masking import SiteMasking
from fednnunet.federation.site.policy import SitePolicy
from fednnunet.federation.spec import Federation, SiteSpec
from fednnunet.federation.wire.messages import FingerprintReply, Message, ShapesReply, sums
from fednnunet.federation.wire.secure_messages import MaskedShapesInvite, SecureInvite
from fednnunet.federation.workflows.masked_plan import masked_fingerprint, masked_shapes
from fednnunet.planning.fingerprint import Fingerprint
from fednnunet.planning.shapes import ShapeSketch
from tests.planning.cases import TASK, exchanges, make_cases

pytest.importorskip("cryptography", reason="secure aggregation needs the extra `privacy`")

Found = dict[str, tuple[Fingerprint, ShapeSketch]]


class PlanningSites:
    """Three sites with their statistics; those in `broken` give the negative ones of others."""

    sites = ("a", "b", "c")

    def __init__(self, folder: Path, found: Found, *, lost: str = "", broken: str = "") -> None:
        federation = Federation(
            task=TASK,
            sites={name: SiteSpec(folder=Path(name)) for name in self.sites},
            planning=Planning(secure=True),
        )
        self._found, self._lost, self._broken = found, lost, broken
        self._sites = {
            name: SiteMasking(name, folder / name, federation, SitePolicy()) for name in self.sites
        }

    def ask(self, invites: Mapping[str, Message], deadline: Deadline) -> Iterator[Answer]:
        for name, invite in sorted(invites.items()):
            site = self._sites[name]
            if name == self._lost:
                yield Answer(site=name, error=FedNNUNetError("gone"))
            elif isinstance(invite, SecureInvite):
                yield Answer(site=name, reply=site.respond(invite))
            else:
                fingerprint, shapes = self._found[name]
                sign = -1.0 if name == self._broken else 1.0
                plain: Message = FingerprintReply(tensors=sums(sign * fingerprint.vector))
                if isinstance(invite, MaskedShapesInvite):
                    plain = ShapesReply(tensors=sums(sign * shapes.to_vector()))
                yield Answer(site=name, reply=site.reply(invite, plain))


@pytest.fixture(scope="module")
def found() -> Found:
    cases = make_cases(9)
    parts = {"a": cases[:2], "b": cases[2:5], "c": cases[5:]}
    return {name: exchanges(part) for name, part in parts.items()}


def test_the_sums_equal_those_of_the_plain_merge_bit_for_bit(found, tmp_path):
    engine = PlanningSites(tmp_path, found)
    plain = sum((f for f, _ in found.values()), start=Fingerprint.empty(TASK))
    fingerprint = masked_fingerprint(engine, TASK, None)
    assert fingerprint.vector.tobytes() == plain.vector.tobytes()
    first = found["a"][1]
    shapes = sum((s.counts for _, s in found.values()), start=np.zeros_like(first.counts))
    masked = masked_shapes(engine, first.spacing_mm, fingerprint.cases, None)
    assert (masked.counts == shapes).all()


def test_without_one_of_the_sites_there_is_no_plan(found, tmp_path):
    with pytest.raises(FedNNUNetError, match="gone"):
        masked_fingerprint(PlanningSites(tmp_path, found, lost="b"), TASK, None)


def test_sums_that_no_cases_have_are_found_in_the_sum_of_all(found, tmp_path):
    with pytest.raises(FedNNUNetError) as caught:
        masked_fingerprint(PlanningSites(tmp_path, found, broken="c"), TASK, None)
    assert "all sites together" in str(caught.value)
