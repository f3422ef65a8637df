"""A plan in words: every decision with its rule and numbers. Merged figures only, no site's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from fednnunet.files import write_text
from fednnunet.planning.memory import estimate_elements, output_channels
from fednnunet.planning.plan import Configuration, Plan
from fednnunet.text import markdown


def write_why(plan: Plan, path: Path, *, figures: Iterable[Path] = ()) -> None:
    """Write `why.md`; `figures` are shown by their names, and lie beside it."""
    write_text(path, why(plan, figures=figures))


def why(plan: Plan, *, figures: Iterable[Path] = ()) -> str:
    """The plan's decisions as Markdown."""
    parts = [_head(plan), _configurations(plan), _reasons(plan), _intensities(plan), _labels(plan)]
    images = [f"![{path.stem.replace('_', ' ')}]({path.name})" for path in figures]
    if images:
        parts.append("\n\n".join(["## Where the targets lie", *images]))
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(plan: Plan) -> str:
    order = ", ".join("zyx"[axis] for axis in plan.transpose)
    channels = ", ".join(map(markdown, plan.task.channels))
    return (
        f"# Why the plan of {markdown(plan.task.name)} is as it is\n\n"
        f"Planner {markdown(plan.planner)}, {plan.cases} cases, channels {channels}. "
        "All figures are of all sites together. The axes z, y, x of the plan are the axes "
        f"{order} of a volume."
    )


def _configurations(plan: Plan) -> str:
    header = (
        "| configuration | spacing, mm | patch | batch | median shape | stages: features | "
        "million elements a sample |"
    )
    outputs = output_channels(plan.task)
    rows = [_row(configuration, outputs) for configuration in plan.configurations]
    return "\n".join(["## What was decided", "", header, "|" + "---|" * 7, *rows])


def _row(configuration: Configuration, outputs: int) -> str:
    network = configuration.architecture
    features = ", ".join(str(stage.features) for stage in network.stages)
    elements = estimate_elements(network, configuration.patch_vox, outputs) / 1e6
    cells = (
        markdown(configuration.name),
        _by(configuration.spacing_mm),
        _by(configuration.patch_vox),
        str(configuration.batch),
        _by(configuration.median_shape_vox),
        f"{len(network.stages)}: {features}",
        f"{elements:.1f}",
    )
    return "| " + " | ".join(cells) + " |"


def _reasons(plan: Plan) -> str:
    if not plan.reasons:
        return "## Why\n\nThe plan was given ready-made; it carries no reasons."
    lines = [
        f"- **{markdown(reason.decision)}**: {markdown(reason.because)}." for reason in plan.reasons
    ]
    return "\n".join(["## Why", "", *lines])


def _intensities(plan: Plan) -> str:
    header = "| channel | mean | std | median | 0.5 % | 99.5 % |"
    rows = [
        f"| {markdown(name)} | {i.mean:.5g} | {i.std:.5g} | {i.median:.5g} "
        f"| {i.percentile_00_5:.5g} | {i.percentile_99_5:.5g} |"
        for name, i in zip(plan.task.channels, plan.intensity, strict=True)
    ]
    title = "## Foreground intensities, every case weighing the same"
    return "\n".join([title, "", header, "|" + "---|" * 6, *rows])


def _labels(plan: Plan) -> str:
    lines = []
    if any(plan.label_cases.values()):
        lines += [
            f"- {markdown(name)}: in {count} cases" for name, count in plan.label_cases.items()
        ]
    for site, labels in plan.site_labels.items():
        names = ", ".join(map(markdown, labels))
        lines.append(f"- {markdown(site)} annotates {names} (from the federation file)")
    return "\n".join(["## Labels", "", *lines]) if lines else ""


def _by(values: Sequence[float]) -> str:
    return "x".join(f"{value:.6g}" for value in values)
