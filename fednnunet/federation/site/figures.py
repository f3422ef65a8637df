"""The figures that a site states for the federation's rule of weights, by its own federation file.

Each is over the site as a whole and stays there where too few cases stand for it.
"""

from __future__ import annotations

from fednnunet.evaluation.metrics import target_values
from fednnunet.federation.site.contour_noise import contour_noise
from fednnunet.federation.site.prepared import PreparedSite
from fednnunet.federation.wire.figures import Figures
from fednnunet.federation.wire.phases import Phase
from fednnunet.training.state import TrainingState
from fednnunet.training.summary import TrainSummary


def received_figures(site: PreparedSite, state: TrainingState, phase: Phase) -> Figures:
    """What is stated of the received network, before it is trained, and of the labels."""
    wanted = site.training.figures_in(phase)
    return Figures(
        annotated_cases=annotated_cases(site) if "annotated_cases" in wanted else (),
        contour_noise=contour_noise(site, state) if "contour_noise" in wanted else None,
    )


def loss_spread(site: PreparedSite, summary: TrainSummary, phase: Phase) -> float | None:
    """The spread of the round's losses, if it is asked for, over as many cases as the mean loss."""
    enough = len(summary.cases) >= site.policy.min_scored_cases
    asked = "loss_spread" in site.training.figures_in(phase)
    return summary.loss_spread if enough and asked else None


def annotated_cases(site: PreparedSite) -> tuple[int, ...]:
    """For each target the number of training cases that annotate it.

    0 where these are fewer than the policy wants, unless they are all of the site's cases, whose
    number is known. Empty, which is no statement, at a site where this leaves nothing of labels
    that there are.
    """
    task, needed = site.plan.task, site.policy.min_scored_cases
    kinds = [site.supervision.of(name) for name in site.cases]
    counts = [sum(k.covers(v, task) for k in kinds) for v in target_values(task).values()]
    shown = tuple(n if n >= needed or n == len(kinds) else 0 for n in counts)
    return shown if any(shown) or not any(counts) else ()
