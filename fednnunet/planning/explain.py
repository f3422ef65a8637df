"""Explain a plan in Markdown: each decision with its rule and numbers, over all sites together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from fednnunet.files import write_text
from fednnunet.planning.memory import estimate_elements, output_channels
from fednnunet.planning.plan import Configuration, Plan
from fednnunet.text import markdown


def write_why(plan: Plan, path: Path, *, figures: Iterable[Path] = ()) -> None:
    """Write `why.md`; `figures` are images in the same folder that it shows."""
    write_text(path, why(plan, figures=figures))


def why(plan: Plan, *, figures: Iterable[Path] = ()) -> str:
    """The plan's decisions as Markdown."""
    parts = [_head(plan), _configurations(plan), _reasons(plan), _intensities(plan), _labels(plan)]
    images = [f"![{path.stem.replace('_', ' ')}]({path.name})" for path in figures]
    if images:
        parts.append("\n\n".join(["## Distributions over all cases", *images]))
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(plan: Plan) -> str:
    order = ", ".join("zyx"[axis] for axis in plan.transpose)
    channels = ", ".join(map(markdown, plan.task.channels))
    return (
        f"# Plan of {markdown(plan.task.name)} and the reasons for it\n\n"
        f"Planner {markdown(plan.planner)}, {plan.cases} cases, channels {channels}. "
        "All numbers are computed over all sites together. The axes z, y, x of the plan correspond "
        f"to the axes {order} of a volume."
    )


def _configurations(plan: Plan) -> str:
    header = (
        "| configuration | spacing, mm | patch, voxels | batch size | median shape, voxels | "
        "stages: features | feature map elements per sample, millions |"
    )
    outputs = output_channels(plan.task)
    rows = [_row(configuration, outputs) for configuration in plan.configurations]
    return "\n".join(["## Configurations", "", header, "|" + "---|" * 7, *rows])


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
        return "## Reasons\n\nThe plan file gives no reasons."
    lines = [
        f"- **{markdown(reason.decision)}**: {markdown(reason.because)}." for reason in plan.reasons
    ]
    return "\n".join(["## Reasons", "", *lines])


def _intensities(plan: Plan) -> str:
    header = "| channel | mean | std | median | 0.5 % | 99.5 % |"
    rows = [
        f"| {markdown(name)} | {i.mean:.5g} | {i.std:.5g} | {i.median:.5g} "
        f"| {i.percentile_00_5:.5g} | {i.percentile_99_5:.5g} |"
        for name, i in zip(plan.task.channels, plan.intensity, strict=True)
    ]
    title = "## Foreground intensities, each case with equal weight"
    return "\n".join([title, "", header, "|" + "---|" * 6, *rows])


def _labels(plan: Plan) -> str:
    lines = []
    if any(plan.label_cases.values()):
        lines += [
            f"- {markdown(name)}: in {count} cases" for name, count in plan.label_cases.items()
        ]
    for site, labels in plan.site_labels.items():
        names = ", ".join(map(markdown, labels))
        lines.append(f"- {markdown(site)} annotates {names}, or fewer (from the federation file)")
    return "\n".join(["## Labels", "", *lines]) if lines else ""


def _by(values: Sequence[float]) -> str:
    return "x".join(f"{value:.6g}" for value in values)
