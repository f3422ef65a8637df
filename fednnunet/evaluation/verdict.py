"""What a report says first: did joining help, and what to do next.

At the coordinator it is made of the sites' mean scores, and of the differences to training alone
that sites send; a site has the scores of its own cases.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from fednnunet.evaluation.gains import Gain, mean_gain
from fednnunet.evaluation.page import signed
from fednnunet.evaluation.paired import bootstrap_interval
from fednnunet.text import plural

ALONE, GLOBAL, PERSONAL = "local", "global", "personal"
FEW_CASES = 10
_SAME = 0.005  # a smaller difference in Dice is called none
_BASELINE = 'baselines = ["local"]'


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A headline, sentences that give its numbers, and steps for the reader."""

    headline: str = ""
    lines: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()


def federation_verdict(
    dice: Mapping[str, Mapping[str, float]],
    cases: Mapping[str, int],
    *,
    external: Collection[str] = (),
    gains: Mapping[str, Mapping[str, Gain]] | None = None,
) -> Verdict:
    """The verdict over all sites, from the mean Dice of each model at each site.

    Models are "global", "personal" and baselines by name; "local" is training alone. `cases` are
    the held-out cases of each site. The `external` sites did not train. `gains` has by model and
    site the differences over training alone, where sites send them.
    """
    judged = {
        model: {s: v for s, v in values.items() if s not in external and not math.isnan(v)}
        for model, values in dice.items()
    }
    judged = {model: values for model, values in judged.items() if values}
    if not judged:
        return Verdict(
            headline="No model has been evaluated, so nothing is known of its quality",
            steps=("Set training.held_out above 0, or give the sites test sets (imagesTs).",),
        )
    own = PERSONAL if PERSONAL in judged else GLOBAL
    alone = judged.get(ALONE, {})
    both = own in judged and bool(alone)
    sent = (gains or {}).get(own, {}) if both else {}
    parts = [_joined(judged[own], alone) + _mean_gain(sent)] if both else [_quality(judged, own)]
    if both and own == PERSONAL and GLOBAL in judged:
        parts.append(_global(judged[GLOBAL], alone))
    lines = [_mean_line(model, values) for model, values in judged.items()]
    lines += _counted(sent)
    small = [site for site, count in sorted(cases.items()) if 0 < count < FEW_CASES]
    if small:
        lines.append(
            f"Fewer than {FEW_CASES} held-out cases at {_few(small)}: differences there may "
            "be chance. Each site's own report has an interval."
        )
    return Verdict(
        headline="; ".join(parts), lines=tuple(lines), steps=tuple(_steps(judged, own, alone))
    )


def site_verdict(models: Mapping[str, Mapping[str, float]]) -> Verdict:
    """The verdict of one site, from the Dice of each case by each model.

    Models are named as in `federation_verdict`. The interval is by bootstrap over cases.
    """
    own = PERSONAL if PERSONAL in models else GLOBAL
    if own not in models or not _defined(models[own]):
        return Verdict()
    mine = _defined(models[own])
    mean = statistics.fmean(mine.values())
    text = f"The {own} model has a mean Dice of {mean:.3f} on {plural(len(mine), 'held-out case')}"
    alone = _defined(models.get(ALONE, {}))
    common = sorted(mine.keys() & alone.keys())
    if not common:
        step = f"To see whether joining helped this site, the federation sets {_BASELINE}."
        return Verdict(headline=text, steps=(step,))
    differences = [mine[case] - alone[case] for case in common]
    difference = statistics.fmean(differences)
    word = "helped" if difference > _SAME else "harmed" if difference < -_SAME else "changed little"
    headline = f"Joining {word}: {signed(difference)} Dice against training alone"
    lines = [text + "."]
    if len(common) > 1:
        low, high = bootstrap_interval([differences])
        unsure = " It includes 0, so this may be chance." if low <= 0 <= high else ""
        lines.append(
            f"The difference lies between {signed(low)} and {signed(high)} (95 % interval over "
            f"{plural(len(common), 'case')}).{unsure}"
        )
    if len(common) < FEW_CASES:
        lines.append(f"{plural(len(common), 'held-out case')} cannot show more than a tendency.")
    step = "look at the pictures of the worst case below before the model is used"
    best = "the model trained alone is the better one here; " if difference < -_SAME else ""
    return Verdict(headline=headline, lines=tuple(lines), steps=((best + step).capitalize() + ".",))


def _joined(own: Mapping[str, float], alone: Mapping[str, float]) -> str:
    both = sorted(own.keys() & alone.keys())
    helped = [site for site in both if own[site] - alone[site] > _SAME]
    harmed = [site for site in both if own[site] - alone[site] < -_SAME]
    text = f"Joining helped {len(helped)} of {plural(len(both), 'site')}"
    if harmed:
        text += f" and harmed {_few(harmed)}"
    return (
        text if len(helped) + len(harmed) == len(both) else text + "; elsewhere it changed little"
    )


def _mean_gain(sent: Mapping[str, Gain]) -> str:
    """The mean difference over the cases of all sites that sent one, with its interval."""
    found = mean_gain(sent.values())
    if found is None:
        return ""
    return (
        f" (on average {signed(found.mean)} Dice, 95 % interval {signed(found.low)} to "
        f"{signed(found.high)}, over {plural(found.cases, 'held-out case')} at "
        f"{plural(found.sites, 'site')})"
    )


def _counted(sent: Mapping[str, Gain]) -> list[str]:
    """In how many cases joining was better, over all sites that told."""
    if not sent:
        return []
    cases, better = sum(g.cases for g in sent.values()), sum(g.better for g in sent.values())
    worse = sum(g.worse for g in sent.values())
    return [
        f"Of {plural(cases, 'held-out case')} at {plural(len(sent), 'site')}, {better} have a "
        f"higher Dice than by training alone and {worse} a lower one."
    ]


def _global(values: Mapping[str, float], alone: Mapping[str, float]) -> str:
    both = sorted(values.keys() & alone.keys())
    worse = [site for site in both if values[site] < alone[site] - _SAME]
    if not worse:
        return "the global model is nowhere worse than training alone"
    where = f"all {len(both)}" if len(worse) == len(both) else f"{len(worse)} of {len(both)}"
    return f"the global model is worse than training alone at {where}"


def _quality(judged: Mapping[str, Mapping[str, float]], own: str) -> str:
    model = own if own in judged else best_model(judged)
    values = judged[model]
    low, high = min(values, key=values.__getitem__), max(values, key=values.__getitem__)
    text = f"The {model} model has a mean Dice of {statistics.fmean(values.values()):.3f}"
    if len(values) > 1:
        text += f", from {values[low]:.3f} ({low}) to {values[high]:.3f} ({high})"
    return text


def best_model(dice: Mapping[str, Mapping[str, float]], external: Collection[str] = ()) -> str:
    """The model with the highest mean over the sites that train; "" without any."""
    means = {}
    for model, values in dice.items():
        own = [v for site, v in values.items() if site not in external and not math.isnan(v)]
        if own:
            means[model] = statistics.fmean(own)
    return max(means, key=means.__getitem__) if means else ""


def _mean_line(model: str, values: Mapping[str, float]) -> str:
    name = "Training alone" if model == ALONE else f"Model “{model}”"
    mean = statistics.fmean(values.values())
    return f"{name}: mean Dice {mean:.3f} over {plural(len(values), 'site')}."


def _steps(
    judged: Mapping[str, Mapping[str, float]], own: str, alone: Mapping[str, float]
) -> Sequence[str]:
    steps = []
    if own == PERSONAL and own in judged:
        steps.append("Each site uses its own model, sites/NAME/personal.")
    if GLOBAL in judged:
        steps.append("Hospitals outside the federation use the global model, in the folder global.")
    if not alone:
        steps.append(f"To see whether joining helped, train again with {_BASELINE}.")
    elif own in judged:
        harmed = [s for s, v in sorted(judged[own].items()) if v < alone.get(s, v) - _SAME]
        if harmed:
            steps.append(
                f"{_few(harmed)}: training alone is better there so far. Look at the labels there "
                "and at the site's own report, and train for more rounds before deciding."
            )
    steps.append("Every site looks at the worst cases in its own report before a model is used.")
    return steps


def _few(sites: Sequence[str]) -> str:
    """The names of up to three sites, or how many there are."""
    return ", ".join(sites) if len(sites) <= 3 else plural(len(sites), "site")


def _defined(values: Mapping[str, float]) -> dict[str, float]:
    return {case: value for case, value in values.items() if not math.isnan(value)}
