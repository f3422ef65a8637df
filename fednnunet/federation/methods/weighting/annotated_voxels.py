"""Sites count by their annotated voxels of each class, sites without labels by a ramp.

After Qiu et al., "Federated Semi-Supervised Learning for Medical Image Segmentation via
Pseudo-Label Denoising", IEEE JBHI 2023. With n_k the training cases of site k, and a_kc the voxels
of class c that its labels mark in the patches of the round (tp + fn of the reply's overlap),

    v_kc = n_k a_kc,    w_k = mean over classes c of  v_kc / sum over sites j of v_jc.

So every class counts the same, however small it is, and a site that alone annotates a class has
the whole weight of this class. A site without labels has

    w_u = strength n_u / sum over labelled sites j of n_j,

where n_u rises with the ramp of the pseudo-labels (`coordinator.counted_cases`). A labelled site
whose overlap stays at the site, since too few cases entered the round, counts by its cases in the
same way, with strength 1. All sites take patches of one size, and those with more cases see more of
them only over rounds, which is why a_kc is multiplied by n_k. The paper's own weights are of a
two-dimensional network with one class; that each class has the same part is added here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from fednnunet.errors import InputError
from fednnunet.federation.methods.merge import Needs, Reply, State
from fednnunet.federation.wire.figures import FigureName
from fednnunet.ranges import Within, check_ranges


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatedVoxels:
    """Sites count by annotated voxels of each class, those without labels by a ramp (Qiu 2023)."""

    tag: ClassVar[str] = "annotated_voxels"
    tag_field: ClassVar[str] = "rule"
    needs: ClassVar[Needs] = "replies"
    figures: ClassVar[tuple[FigureName, ...]] = ()

    strength: Annotated[float, Within(0, 100)] = 0.5
    """How a case without labels counts, beside one with labels, when the ramp has ended."""

    def __post_init__(self) -> None:
        check_ranges(self, InputError, mend="correct it in the table [training.weights]")

    def weights(self, state: State, replies: Sequence[Reply], /) -> dict[str, float]:
        """The weights; of sites without labels alone, their cases."""
        labelled = {r.site: float(r.cases) for r in replies if r.labelled}
        voxels = {reply.site: _voxels(reply) for reply in replies if reply.labelled}
        known = {site: row for site, row in voxels.items() if row}
        everyone = sum(labelled.values())
        if not everyone:
            return {reply.site: float(reply.cases) for reply in replies}
        # What the sites with known voxels share is what they would have by their cases.
        part = sum(labelled[site] for site in known) / everyone
        found = {site: cases / everyone for site, cases in labelled.items()}
        found |= {site: part * share for site, share in _mean_shares(known).items()}
        for reply in replies:
            if not reply.labelled:
                found[reply.site] = self.strength * reply.cases / everyone
        return found


def _voxels(reply: Reply) -> tuple[float, ...]:
    """Annotated voxels of each class, of all cases; empty where the site does not state any."""
    row = tuple(float(reply.cases * (tp + fn)) for tp, _, fn in reply.overlap)
    return row if any(row) else ()


def _mean_shares(voxels: dict[str, tuple[float, ...]]) -> dict[str, float]:
    """Each site's share of the voxels of a class, as the mean over classes that have any."""
    totals = [sum(column) for column in zip(*voxels.values(), strict=True)]
    classes = [number for number, total in enumerate(totals) if total]
    return {
        site: sum(row[number] / totals[number] for number in classes) / len(classes)
        for site, row in voxels.items()
    }
