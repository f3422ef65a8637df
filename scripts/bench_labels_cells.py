"""The federations that `bench_labels.py` trains, and what each row of its table claims of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from weaken_site import Weakening

from fednnunet.federation.methods.merging import Merging
from fednnunet.federation.methods.weighting.catalogue import RULES
from fednnunet.federation.methods.weighting.plain import Cases
from fednnunet.federation.methods.weighting.rule import WeightRule
from fednnunet.labels.settings import PseudoLabels

Data = Literal["hippocampus", "head_neck_ct"]
SITES: dict[Data, tuple[str, ...]] = {
    "hippocampus": ("site_a", "site_b", "site_c", "site_d"),
    "head_neck_ct": ("site_a", "site_b", "site_c", "site_d", "site_e"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteLabels:
    """The labels of one site's training cases; its held-out cases always keep their own."""

    how: Weakening = field(default_factory=lambda: Weakening(kind="full"))
    keep: Literal["none", "one", "all"] = "none"
    """Which training cases keep the labels that they have."""
    take: Literal["held_out", "one", "all"] = "all"
    """Which cases the site has beside those held out; without any it does not train."""
    late: bool = False
    """Whether the site joins only after `LATE` of the rounds."""

    @property
    def name(self) -> str:
        """A folder's name for these labels."""
        classes = "-".join(map(str, self.how.classes))
        return "_".join(filter(None, (self.take, self.keep, self.how.kind, classes)))


LATE = 0.4  # of the rounds: a site without labels has nothing to teach before

FULL = SiteLabels(keep="all")
OUT = SiteLabels(take="held_out")
NONE = SiteLabels(how=Weakening(kind="none"), late=True)
SCRIBBLES = SiteLabels(how=Weakening(kind="scribble"))
BOXES = SiteLabels(how=Weakening(kind="box"))
IMAGES = SiteLabels(how=Weakening(kind="image"), late=True)
# Of the task's classes the first or the second; the script puts their names in.
FIRST, SECOND = (SiteLabels(how=Weakening(kind="partial", classes=(c,))) for c in ("#1", "#2"))
NAIVE_FIRST, NAIVE_SECOND = (
    SiteLabels(how=Weakening(kind="full", classes=(c,))) for c in ("#1", "#2")
)
NAIVE = SiteLabels()
ONE = SiteLabels(how=Weakening(kind="none"), keep="one")
ONLY_ONE = SiteLabels(keep="all", take="one")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One federation, trained with each of `seeds` seeds."""

    name: str
    words: str
    labels: tuple[SiteLabels, ...]
    """One for each site of the data, in their order."""
    data: Data = "hippocampus"
    pseudo: PseudoLabels | None = None
    seeds: int = 1
    weights: WeightRule = field(default_factory=Cases)
    merging: Merging = field(default_factory=Merging)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What must hold of a cell: `gap` (share of the way from `low` to `high`), `within` (at most so
    far below `high`), `ratio` (at least so much of `high`), `above` (at least so far above `low`),
    or `organs` (better than `low`, and no target worse)."""

    kind: Literal["gap", "within", "ratio", "above", "organs"]
    cell: str
    low: str = ""
    high: str = ""
    wanted: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of the table: its cells, and what must hold of them."""

    name: str
    title: str
    cells: tuple[str, ...]
    claims: tuple[Claim, ...] = ()
    reference: str = "full"
    """The cell from which the differences of the others are taken."""


PSEUDO = PseudoLabels()
REFINEMENTS: Mapping[str, PseudoLabels] = {
    "components": dataclasses.replace(PSEUDO, components=True),
    "random_walker": dataclasses.replace(PSEUDO, random_walker=True),
    "graph": dataclasses.replace(PSEUDO, graph=True),
    "mixup": dataclasses.replace(PSEUDO, mixup=0.5),
    "cross": dataclasses.replace(PSEUDO, cross=0.5),
    "deconflict": dataclasses.replace(PSEUDO, deconflict=True),
}

ROWS_BY_CLASS = Merging(head_rows="annotated")
# One mean over all sites, by the rule: with the rule's weights nothing is added beside it.
IN_ONE_MEAN = dataclasses.replace(PSEUDO, unlabelled_sites="ramp")
MERGES: Mapping[str, tuple[PseudoLabels, WeightRule, Merging]] = {
    **{f"weights_{tag}": (IN_ONE_MEAN, rule(), Merging()) for tag, rule in RULES.items()},
    "conflicts": (PSEUDO, Cases(), Merging(conflicts="drop")),
    "alternate": (
        dataclasses.replace(PSEUDO, unlabelled_sites="alternate"),
        Cases(),
        Merging(),
    ),
}

_ORGANS = (FULL,) * 5

CELLS: dict[str, Cell] = {
    cell.name: cell
    for cell in (
        Cell(name="full", words="full labels at all four", labels=(FULL,) * 4, seeds=3),
        Cell(name="d", words="site d alone", labels=(OUT, OUT, OUT, FULL), seeds=3),
        Cell(
            name="d_pseudo",
            words="site d full, three unlabelled, pseudo-labels",
            labels=(NONE, NONE, NONE, FULL),
            pseudo=PSEUDO,
            seeds=3,
        ),
        Cell(
            name="halves",
            words="a and b the first class, c and d the second, marginal",
            labels=(FIRST, FIRST, SECOND, SECOND),
            seeds=3,
        ),
        Cell(
            name="halves_rows",
            words="the same, heads' rows averaged over the sites that annotate the class",
            labels=(FIRST, FIRST, SECOND, SECOND),
            merging=ROWS_BY_CLASS,
        ),
        Cell(
            name="halves_naive",
            words="the same, missing taught as background",
            labels=(NAIVE_FIRST, NAIVE_FIRST, NAIVE_SECOND, NAIVE_SECOND),
            seeds=3,
        ),
        Cell(
            name="halves_pseudo",
            words="the same, marginal and pseudo-labels",
            labels=(FIRST, FIRST, SECOND, SECOND),
            pseudo=PSEUDO,
        ),
        Cell(name="scribbles", words="scribbles at all four", labels=(SCRIBBLES,) * 4, seeds=3),
        Cell(
            name="scribbles_pseudo",
            words="the same, pseudo-labels",
            labels=(SCRIBBLES,) * 4,
            pseudo=PSEUDO,
        ),
        Cell(name="two", words="a and d full, b and c left out", labels=(FULL, OUT, OUT, FULL)),
        Cell(name="two_boxes", words="b and c boxes", labels=(FULL, BOXES, BOXES, FULL)),
        Cell(
            name="two_boxes_pseudo",
            words="b and c boxes, pseudo-labels",
            labels=(FULL, BOXES, BOXES, FULL),
            pseudo=PSEUDO,
        ),
        Cell(
            name="two_scribbles",
            words="b and c scribbles",
            labels=(FULL, SCRIBBLES, SCRIBBLES, FULL),
        ),
        Cell(
            name="two_images",
            words="b and c image labels, pseudo-labels",
            labels=(FULL, IMAGES, IMAGES, FULL),
            pseudo=PSEUDO,
        ),
        Cell(name="boxes", words="boxes at all four", labels=(BOXES,) * 4),
        Cell(
            name="one",
            words="one labelled case of site d, nothing else",
            labels=(OUT, OUT, OUT, ONLY_ONE),
        ),
        Cell(
            name="one_pseudo",
            words="one labelled case of site d, all others unlabelled, pseudo-labels",
            labels=(NONE, NONE, NONE, ONE),
            pseudo=PSEUDO,
        ),
        *(
            Cell(
                name=f"d_{name}",
                words=f"site d full, three unlabelled, pseudo-labels with {name}",
                labels=(NONE, NONE, NONE, FULL),
                pseudo=settings,
            )
            for name, settings in REFINEMENTS.items()
        ),
        *(
            Cell(
                name=f"d_{name}",
                words=f"site d full, three unlabelled, {name.replace('_', ' ')}",
                labels=(NONE, NONE, NONE, FULL),
                pseudo=pseudo,
                weights=weights,
                merging=merging,
            )
            for name, (pseudo, weights, merging) in MERGES.items()
        ),
        Cell(
            name="organs_naive",
            words="missing organs taught as background",
            labels=(NAIVE,) * 5,
            data="head_neck_ct",
        ),
        Cell(name="organs", words="marginal", labels=_ORGANS, data="head_neck_ct"),
        Cell(
            name="organs_pseudo",
            words="marginal and pseudo-labels",
            labels=_ORGANS,
            data="head_neck_ct",
            pseudo=PSEUDO,
        ),
    )
}

ROWS: dict[str, Row] = {
    row.name: row
    for row in (
        Row(
            name="unlabelled",
            title="site d full, three unlabelled",
            cells=("full", "d", "d_pseudo"),
            claims=(Claim(kind="gap", cell="d_pseudo", low="d", high="full", wanted=0.5),),
        ),
        Row(
            name="halves",
            title="two sites draw class 1 only, two class 2 only",
            cells=("full", "halves", "halves_rows", "halves_pseudo", "halves_naive"),
            claims=(
                Claim(kind="within", cell="halves", high="full", wanted=0.015),
                Claim(kind="above", cell="halves", low="halves_naive"),
            ),
        ),
        Row(
            name="scribbles",
            title="scribbles everywhere",
            cells=("full", "scribbles", "scribbles_pseudo"),
            claims=(Claim(kind="ratio", cell="scribbles", high="full", wanted=0.95),),
        ),
        Row(
            name="mixed",
            title="full on two, weak on two",
            cells=("two", "two_boxes", "two_boxes_pseudo", "two_scribbles", "two_images", "boxes"),
            claims=(
                Claim(kind="above", cell="two_boxes", low="two"),
                Claim(kind="above", cell="two_scribbles", low="two"),
                Claim(kind="above", cell="two_images", low="two"),
                Claim(kind="ratio", cell="boxes", high="full", wanted=0.85),
            ),
            reference="two",
        ),
        Row(
            name="one",
            title="one labelled case in the whole federation",
            cells=("full", "one", "one_pseudo"),
            claims=(Claim(kind="above", cell="one_pseudo", low="one", wanted=0.05),),
        ),
        Row(
            name="organs",
            title="head and neck CT, organs missing case by case",
            cells=("organs_naive", "organs", "organs_pseudo"),
            claims=(
                Claim(kind="organs", cell="organs", low="organs_naive"),
                Claim(kind="organs", cell="organs_pseudo", low="organs_naive"),
            ),
            reference="organs_naive",
        ),
        Row(
            name="refinements",
            title="each refinement, on site d full, three unlabelled",
            cells=("d_pseudo", *(f"d_{name}" for name in REFINEMENTS)),
            reference="d_pseudo",
        ),
        *(
            Row(
                name=name,
                title=f"site d full, three unlabelled, {name.replace('_', ' ')}",
                cells=("d", "d_pseudo", f"d_{name}"),
                claims=(Claim(kind="above", cell=f"d_{name}", low="d"),),
                reference="d",
            )
            for name in MERGES
        ),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CellScores:
    """The scores of one training on held-out cases, as it is stored."""

    cell: str
    seed: int
    rounds: int
    iterations_per_round: int
    targets: tuple[str, ...]
    cases: dict[str, dict[str, dict[str, float | None]]]
    """The Dice of each target, by site and case; None where it is not defined or not annotated."""
    seconds: float
    """Training time of all sites together."""
    seconds_per_iteration: dict[str, float] = field(default_factory=dict)
    """At each site that trained, its median over rounds."""
