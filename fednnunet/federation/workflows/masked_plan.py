"""The two exchanges that lead to a plan, under masks: what comes of them are sums over all sites.

Every part of a fingerprint is a sum over cases: counts, histograms, sums of moments. Minimum and
maximum of intensities, medians and the orientation of the plan are read from histograms after the
merge. So nothing is left out, and the plan is the same. What cannot be done under masks is to look
at the part of one site: its number of cases is not known, and whether its sums can come from cases
is checked for all sites together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from fednnunet.federation.coordinator.engine import Engine
from fednnunet.federation.coordinator.masked import MaskedQuestion, masked_sum
from fednnunet.federation.secure import keys
from fednnunet.federation.secure.fixed_point import decode_sums
from fednnunet.federation.secure.protocol import usual_threshold
from fednnunet.federation.wire.messages import Message
from fednnunet.federation.wire.secure_messages import (
    MaskedFingerprintReply,
    MaskedMeasureInvite,
    MaskedShapesInvite,
    MaskedShapesReply,
    Topic,
)
from fednnunet.planning.fingerprint import Fingerprint, Layout
from fednnunet.planning.shapes import ShapeSketch, Spacing
from fednnunet.planning.validate import validate, validate_shapes
from fednnunet.progress import Progress
from fednnunet.task import Task

ALL = "all sites together"


def masked_fingerprint(engine: Engine, task: Task, progress: Progress | None) -> Fingerprint:
    """The sum of all sites' fingerprints; raises what any of them cannot do."""
    keys.check_installed()
    vector = _sum_of_all(
        engine,
        topic="fingerprint",
        expect=MaskedFingerprintReply,
        invite=partial(MaskedMeasureInvite, task=task),
        length=Layout.of(task).length,
        what="the federation cannot be planned",
        progress=progress,
    )
    found = Fingerprint.from_vector(task, vector, site=ALL)
    validate(found, site=ALL)
    return found


def masked_shapes(
    engine: Engine, spacing_mm: Spacing, cases: int, progress: Progress | None
) -> ShapeSketch:
    """The sum of all sites' histograms of resampled shapes, of so many cases."""
    vector = _sum_of_all(
        engine,
        topic="shapes",
        expect=MaskedShapesReply,
        invite=partial(MaskedShapesInvite, spacing_mm=spacing_mm),
        length=len(ShapeSketch.empty(spacing_mm).to_vector()),
        what="the shapes of the federation cannot be merged",
        progress=progress,
    )
    found = ShapeSketch.from_vector(spacing_mm, vector, site=ALL)
    validate_shapes(found, site=ALL, cases=cases)
    return found


def _sum_of_all(
    engine: Engine,
    *,
    topic: Topic,
    expect: type[Message],
    invite: Callable[..., Message],
    length: int,
    what: str,
    progress: Progress | None,
) -> np.ndarray:
    """The sum (length,) of all sites' vectors; `invite(session=, partners=)` asks for one."""

    def invites(session: str, partners: tuple[str, ...]) -> Mapping[str, Message]:
        return dict.fromkeys(partners, invite(session=session, partners=partners))

    question = MaskedQuestion(
        topic=topic,
        expect=expect,
        invites=invites,
        threshold=usual_threshold(len(engine.sites)),
        needed=len(engine.sites),
        size=2 * length,
        what=what,
    )
    return decode_sums(masked_sum(engine, engine.sites, question, progress=progress).total)
