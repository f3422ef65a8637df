"""Settings of pseudo-labels: the table `[training.pseudo_labels]` of the federation file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from fednnunet.errors import InputError
from fednnunet.ranges import Within, check_ranges

Test = Literal["dropout", "flip", "received", "none"]
"""How uncertain a teacher is; see `labels.reliability`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PseudoLabels:
    """Pseudo-labels at sites whose labels leave classes unknown; the other sites train as ever."""

    weight: Annotated[float, Within(0, 100)] = 1.0
    """Weight of the loss on pseudo-labels, beside that on labels."""
    start: Annotated[float, Within(0, 1)] = 0.4
    """Share of the federation's iterations before the first pseudo-label."""
    ramp_up: Annotated[float, Within(0, 1)] = 0.1
    """Share of the federation's iterations, from `start` on, in which the weight rises."""
    confidence: Annotated[float, Within(0, 1)] = 0.9
    """Least probability of a pseudo-label, among the classes that a voxel may have."""
    by_class: bool = True
    """Whether that is relative to the mean confidence of the voxels of the same label."""
    uncertainty: Test = "dropout"
    """The second test: spread under dropout of the last features ("dropout"), over a mirrored image
    ("flip") or between teacher and received model ("received"), or no such test ("none"). The first
    costs no further pass through the network, the next two one more."""
    max_spread: Annotated[float, Within(0, 1)] = 0.1
    """Largest standard deviation of a pseudo-label's probability in the second test."""
    decay: Annotated[float, Within(0, 1)] = 1.0
    """What the teacher keeps of itself in an iteration; the rest comes from the site's network. 1
    keeps it fixed in a round."""
    carry: Annotated[float, Within(0, 1)] = 0.0
    """What the teacher keeps of itself from round to round; the rest comes from the model that the
    site receives. 0 begins every round with that model."""
    unlabelled_sites: Literal["add", "ramp", "cases", "alternate"] = "add"
    """How sites without any labelled voxel count: the mean of their changes is added to the model
    that the other sites make together ("add"), or they count in one mean with them, by the ramp of
    the pseudo-labels ("ramp") or as others do ("cases"), or from `start` on every second round is
    theirs alone ("alternate"). A method whose coordinator looks at single replies, as the default
    method does, takes the ramp in place of the sum; so do all rules in `weights` that do so."""
    unlabelled_strength: Annotated[float, Within(0, 1)] = 0.5
    """What of the mean change of sites without labels is added."""
    cut_out: Annotated[float, Within(0, 1)] = 0.5
    """Chance that a box is cut out of a patch that gets pseudo-labels."""
    cut_out_edge: Annotated[float, Within(0, 1)] = 0.4
    """Largest edge of that box, as a share of the patch's."""
    components: bool = False
    """Keep the largest component of each class only."""
    random_walker: bool = False
    """Grow labels and confident pseudo-labels into the voxels between by a random walk."""
    graph: bool = False
    """Drop components that are unlike all others of their class, by a graph of their features."""
    mixup: Annotated[float, Within(0, 10)] = 0.0
    """Parameter of the beta distribution by which unlabelled patches are mixed; 0 for no mixing."""
    cross: Annotated[float, Within(0, 100)] = 0.0
    """Weight of cross supervision between the finest head and the next coarser one."""
    deconflict: bool = False
    """Take out of the gradient on pseudo-labels what opposes that on labels; it doubles the time
    of an iteration."""

    def __post_init__(self) -> None:
        check_ranges(self, InputError, mend="correct it in the table [training.pseudo_labels]")
