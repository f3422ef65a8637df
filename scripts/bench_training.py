"""Training against nnU-Net v2 on the same machine: python scripts/bench_training.py --help.

Both sides get the same cases, each runs in a process (nnU-Net in an environment) of its own, and
their runs alternate, so that what else the machine does hits both alike. Modes: speed (the
default), `--dice` (same number of iterations) and `--fast` (the `fast` recipe against the clock).
Each writes its figures as JSON and its table as Markdown into the output folder.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from bench_training_sides import HERE, TASK, Bench, Side
from rich.console import Console

from fednnunet.commands.cli import Opt, parse, run_command
from fednnunet.evaluation.folders import pair_cases, score_pairs

NNUNET, OURS, COMPILED, FAST = (
    "nnU-Net v2",
    "fednnunet",
    "fednnunet, torch.compile",
    "fednnunet, fast",
)
REST = 2.0  # seconds between runs, in which the other side's processes come to rest
say = Console(highlight=False, soft_wrap=True, markup=False).print


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of the benchmark."""

    nnunet_python: Path
    """python of an environment with nnU-Net v2"""
    output: Annotated[Path, Opt(short="-o")]
    """folder for work and results"""
    data: Path = HERE.parents[1] / "shared" / "data" / "hippocampus"
    """folder of sites, pooled"""
    batch: int = 0
    """batch of both sides (0: as planned)"""
    repetitions: int = 3
    """runs of each side, which alternate; one more warms up"""
    iterations: int = 2
    """iterations a run (--dice: in all)"""
    seeds: int = 3
    """--dice: number of seeds"""
    minutes: float = 10.0
    """--fast: time that both sides train"""
    steps: int = 25
    """--fast: iterations of our first, shortest training"""
    every: int = 10
    """--fast: nnU-Net's iterations between two looks"""
    compile: bool = False
    """also run with torch.compile"""
    dice: bool = False
    """compare Dice after the same iterations"""
    short: bool = False
    """--dice: nnU-Net in bfloat16 too, which takes half its time"""
    fast: bool = False
    """compare Dice against time, with the fast recipe"""

    @property
    def bench(self) -> Bench:
        """What both sides share."""
        return Bench(
            nnunet_python=self.nnunet_python, output=self.output, data=self.data, batch=self.batch
        )


def speed(options: Options) -> None:
    """Seconds an iteration, runs alternating; memory; share of what a large convolution reaches."""
    bench = options.bench
    folder, setting = bench.set_up()
    sides = {NNUNET: bench.nnunet_side(), OURS: bench.our_side(folder, "nnunet")}
    if options.compile:
        sides[COMPILED] = bench.our_side(folder, "nnunet", compiled=True)
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    waits: dict[str, list[float]] = {name: [] for name in sides}
    for repetition in range(options.repetitions + 1):
        for name, side in sides.items():
            time.sleep(REST)
            answer = side.ask("train", iterations=options.iterations, total=1000)
            if repetition:
                seconds[name] += answer["seconds"]
                waits[name].append(answer["wait"])
        if repetition:
            say(f"run {repetition}: " + ", ".join(f"{n} {v[-1]:.2f} s" for n, v in seconds.items()))
    limit = sides[OURS].ask("limit")
    rows = []
    first = statistics.median(seconds[NNUNET])
    for name, side in sides.items():
        middle = statistics.median(seconds[name])
        rows.append(
            {
                "side": name,
                "seconds": middle,
                "ratio": first / middle,
                "gib": side.ask("memory")["gib"],
                "share": limit["step"] / middle / limit["rate"],
                "wait": statistics.median(waits[name]),
            }
        )
        side.end()
    figures = {"rows": rows, "limit": limit, "wait": waits, "seconds": seconds}
    finish(options.output / "speed", *_speed_table(options, setting, rows, limit), figures)


def _speed_table(
    options: Options, setting: str, rows: Sequence[dict[str, Any]], limit: dict[str, Any]
) -> tuple[str, Sequence[str], Sequence[Sequence[str]]]:
    heads = (
        "side",
        "s / iteration",
        "times as fast",
        "peak GiB",
        "waiting for data",
        f"of one large {limit['precision']} convolution",
    )
    cells = [
        (
            row["side"],
            f"{row['seconds']:.2f}",
            f"{row['ratio']:.2f}",
            f"{row['gib']:.2f}",
            f"{row['wait']:.1%}",
            f"{row['share']:.0%}",
        )
        for row in rows
    ]
    words = (
        f"A training iteration, medians over {options.repetitions} runs of {options.iterations}; "
        f"{setting}. A step is {limit['step'] / 1e9:.0f} Gflop by its layers, the large "
        f"convolution runs at {limit['rate'] / 1e9:.0f} Gflop/s."
    )
    return words, heads, cells


def same_iterations(options: Options) -> None:
    """Dice of both sides after the same number of iterations of the same plan and recipe.

    They begin with the same weights: those decide how soon a training with few iterations finds the
    structure at all (from others, ours ended between 0.30 and 0.84), and both draw them alike.
    """
    bench = options.bench
    folder, setting = bench.set_up()
    found: dict[str, list[float]] = {NNUNET: [], OURS: []}
    for seed in range(options.seeds):
        theirs = bench.nnunet_side(seed, short=options.short)
        ours = bench.our_side(folder, "nnunet", seed)
        ours.ask("begin", **theirs.ask("first_weights", path=str(options.output / "first.npz")))
        for name, side in ((NNUNET, theirs), (OURS, ours)):
            side.ask("train", iterations=options.iterations, total=options.iterations)
            found[name].append(mean_dice(bench, side, f"{name}_{seed}"))
            side.end()
            say(f"seed {seed}, {name}: Dice {found[name][-1]:.3f}")
    cells = [
        (name, *(f"{v:.4f}" for v in values), f"{statistics.fmean(values):.4f}")
        for name, values in found.items()
    ]
    difference = statistics.fmean(found[OURS]) - statistics.fmean(found[NNUNET])
    heads = ("side", *(f"seed {seed}" for seed in range(options.seeds)), "mean")
    context = "; nnU-Net given bfloat16 and channels last" if options.short else ""
    words = (
        f"Mean foreground Dice on the test cases after {options.iterations} iterations of one plan "
        f"and recipe; {setting}{context}. fednnunet less nnU-Net v2: {difference:+.4f}."
    )
    finish(options.output / "dice", words, heads, cells, found)


def against_time(options: Options) -> None:
    """Dice against training time: the `fast` recipe and `cpu` plan, and stock nnU-Net."""
    bench = options.bench
    _, setting = bench.set_up()
    folder = options.output / "fast"
    bench.prepare_ours("cpu", 0, folder)
    limit = options.minutes * 60
    curves = {FAST: _our_curve(options, folder, limit), NNUNET: _nnunet_curve(options, limit)}
    draw(curves, options.output / "fast.png")
    cells = [
        (name, f"{iterations}", f"{seconds:.0f}", f"{dice:.4f}")
        for name, points in curves.items()
        for seconds, dice, iterations in points
    ]
    words = (
        "Mean foreground Dice on the test cases against seconds of training. Each line of ours is "
        f"a training of its own of that length; nnU-Net's is one training; {setting} (nnU-Net)."
    )
    heads = ("side", "iterations", "seconds of training", "Dice")
    finish(options.output / "fast", words, heads, cells, curves)


def _our_curve(options: Options, folder: Path, limit: float) -> list[tuple[float, float, int]]:
    """Trainings of doubled length, while the next still fits into the time."""
    points: list[tuple[float, float, int]] = []
    iterations = options.steps
    while not points or 2.1 * points[-1][0] < limit:
        side = options.bench.our_side(folder, "fast")
        spent = sum(side.ask("train", iterations=iterations, total=iterations)["seconds"])
        dice = mean_dice(options.bench, side, "fast")
        side.end()
        points.append((spent, dice, iterations))
        say(f"{FAST}, {iterations} iterations: {spent:.0f} s, Dice {dice:.3f}")
        iterations *= 2
    return points


def _nnunet_curve(options: Options, limit: float) -> list[tuple[float, float, int]]:
    """One training, looked at from time to time; looking does not count."""
    points: list[tuple[float, float, int]] = []
    side, spent = options.bench.nnunet_side(), 0.0
    while spent < limit:
        spent += sum(side.ask("train", iterations=options.every, total=1000)["seconds"])
        done = options.every * (len(points) + 1)
        points.append((spent, mean_dice(options.bench, side, "nnunet"), done))
        say(f"{NNUNET}, {done} iterations: {spent:.0f} s, Dice {points[-1][1]:.3f}")
    side.end()
    return points


def mean_dice(bench: Bench, side: Side, name: str) -> float:
    """Mean foreground Dice over the test cases, by our own scores for both sides."""
    out = bench.output / "masks" / name
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    side.ask("predict", images=str(bench.test_images), out=str(out))
    pairs = pair_cases(out, bench.test_images.with_name("labelsTs"))
    return statistics.fmean(score.dice for score in score_pairs(pairs, TASK))


def draw(curves: dict[str, list[tuple[float, float, int]]], path: Path) -> None:
    """Both curves in one picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, points in curves.items():
        seconds, dice, _ = zip(*points, strict=True)
        axes.plot(seconds, dice, marker="o", label=name)
    axes.set(xlabel="seconds of training", ylabel="mean foreground Dice", xscale="log")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=150)


def finish(
    path: Path,
    words: str,
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    figures: dict[str, Any],
) -> None:
    """Print the table and write it, and the figures it was made of, beside each other."""
    lines = [words, ""]
    lines += [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    text = "\n".join(lines)
    path.with_suffix(".json").write_text(json.dumps(figures, indent=1) + "\n")
    path.with_suffix(".md").write_text(text + "\n")
    say(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the mode that was asked for."""
    options = parse(Options, argv, prog="bench_training.py", about="Training against nnU-Net v2.")
    options.output.mkdir(parents=True, exist_ok=True)
    mode = same_iterations if options.dice else against_time if options.fast else speed
    return run_command(lambda: mode(options))


if __name__ == "__main__":
    sys.exit(main())
