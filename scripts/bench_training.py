"""Training against nnU-Net v2 on the same machine: python scripts/bench_training.py --help.

Both sides get the same cases and plan, each runs in a process (nnU-Net in an environment) of its
own, and they take turns, so that what else the machine does hits both alike. Modes: speed (the
default), `--dice` (same number of iterations) and `--fast` (the `fast` recipe against the clock).
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from rich.console import Console
from rich.table import Table

from fednnunet import records
from fednnunet.commands.cli import Opt, parse, run_command
from fednnunet.dataset import Case, read_dataset, split_cases
from fednnunet.errors import InputError
from fednnunet.evaluation.folders import pair_cases, score_pairs
from fednnunet.planning.fingerprint import Fingerprint
from fednnunet.planning.plan import Plan
from fednnunet.planning.planner import make_plan
from fednnunet.planning.shapes import ShapeSketch
from fednnunet.planning.spacing import target_spacing
from fednnunet.preprocess.measure_site import measure_cases
from fednnunet.preprocess.store import prepare_site
from fednnunet.task import Task

HERE = Path(__file__).resolve().parent
TASK = Task(name="bench", channels=("MRI",), labels=("background", "anterior", "posterior"))
CONFIGURATION = "3d_fullres"
say = Console(highlight=False).print


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of the benchmark."""

    nnunet_python: Annotated[Path, Opt("python of an environment with nnU-Net v2")]
    output: Annotated[Path, Opt("folder for work and results", short="-o")]
    data: Annotated[Path, Opt("folder of sites, pooled")] = (
        HERE.parents[1] / "shared" / "data" / "hippocampus"
    )
    batch: Annotated[int, Opt("batch of both sides (0: as planned)")] = 7
    turns: Annotated[int, Opt("turns of each side; one more warms up")] = 3
    iterations: Annotated[int, Opt("iterations a turn (--dice: in all)")] = 2
    seeds: Annotated[int, Opt("--dice: number of seeds")] = 3
    minutes: Annotated[float, Opt("--fast: time that both sides train")] = 10.0
    compile: Annotated[bool, Opt("also run with torch.compile")] = False
    dice: Annotated[bool, Opt("compare Dice after the same iterations")] = False
    fast: Annotated[bool, Opt("compare Dice against time, with the fast recipe")] = False


class Side:
    """A contestant: a process that answers commands."""

    def __init__(self, command: Sequence[str], **environment: str) -> None:
        self.process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | environment,
        )

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise InputError(f"{self.process.args} ended without an answer", mend="run it by hand")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def end(self) -> None:
        """Let the process end."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(timeout=60)


def cases_of(options: Options) -> tuple[tuple[Case, ...], tuple[Case, ...]]:
    """All sites' cases, split into training and test by a fixed seed."""
    sites = sorted(path for path in options.data.iterdir() if (path / "imagesTr").is_dir())
    pooled = [case for site in sites for case in read_dataset(site, TASK).cases]
    return split_cases(pooled, fraction=0.2, seed=0)


def plan_of(cases: Sequence[Case], planner: str, batch: int) -> Plan:
    """Our plan for the cases, with the batch that was asked for."""
    measured = measure_cases(cases, TASK, workers=2)
    whole = Fingerprint.of(TASK, measured)
    target = target_spacing(whole)
    shapes = ShapeSketch.of_cases(target, [(c.spacing_mm, c.shape_vox) for c in measured])
    plan = make_plan(whole, shapes, planner=planner)
    chosen = plan.configuration(CONFIGURATION)
    chosen = replace(chosen, batch=batch or chosen.batch)
    return replace(plan, configurations=(chosen,))


def prepare_ours(cases: Sequence[Case], planner: str, batch: int, folder: Path) -> Plan:
    """Plan and prepare the cases on our side."""
    plan = plan_of(cases, planner, batch)
    records.write(plan, folder / "plan.json")
    prepare_site(cases, plan, CONFIGURATION, folder / "prepared", workers=2)
    return plan


def prepare_nnunet(options: Options, train: Sequence[Case], test: Sequence[Case]) -> dict[str, Any]:
    """Copy the cases into nnU-Net's layout; let it plan and preprocess, unless it has."""
    raw = options.output / "nnUNet_raw" / "Dataset001_Bench"
    for part, cases in (("Tr", train), ("Ts", test)):
        for case in cases:
            _copy(case.images[0], raw / f"images{part}" / f"{case.name}_0000.nii.gz")
            _copy(case.label, raw / f"labels{part}" / f"{case.name}.nii.gz")
    dataset = {
        "channel_names": {"0": "MRI"},
        "labels": {name: value for value, name in enumerate(TASK.labels)},
        "numTraining": len(train),
        "file_ending": ".nii.gz",
    }
    (raw / "dataset.json").write_text(json.dumps(dataset))
    kept = options.output / "nnunet_plan.json"
    if not kept.exists():
        command = [str(options.nnunet_python), str(HERE / "bench_training_nnunet.py"), "plan"]
        done = subprocess.run(
            [*command, str(options.batch)],
            env=os.environ | folders(options),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=True,
        )
        kept.write_text(done.stdout)
    agreed: dict[str, Any] = json.loads(kept.read_text())
    return agreed


def _copy(source: Path | None, target: Path) -> None:
    if source is not None and not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def folders(options: Options) -> dict[str, str]:
    """nnU-Net finds its folders through the environment."""
    names = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
    return {name: str((options.output / name).resolve()) for name in names}


def nnunet_side(options: Options, seed: int = 0) -> Side:
    """nnU-Net's trainer, stock, on the CPU."""
    script = str(HERE / "bench_training_nnunet.py")
    return Side([str(options.nnunet_python), script, "serve", str(seed)], **folders(options))


def our_side(folder: Path, recipe: str, seed: int = 0, *, compiled: bool = False) -> Side:
    """Our trainer on the CPU."""
    script = str(HERE / "bench_training_ours.py")
    flag = ["compile"] if compiled else []
    return Side([sys.executable, script, str(folder), recipe, str(seed), *flag])


def set_up(options: Options) -> tuple[Path, Path]:
    """Prepare both sides alike; returns our folder and that of the test images."""
    train, test = cases_of(options)
    folder = options.output / "ours"
    plan = prepare_ours(train, "plain", options.batch, folder)
    theirs = prepare_nnunet(options, train, test)
    chosen = plan.configuration(CONFIGURATION)
    if theirs != {"patch": list(chosen.patch_vox), "batch": chosen.batch}:
        raise InputError(f"the plans differ: {theirs} and {chosen.patch_vox}, {chosen.batch}")
    say(f"{len(train)} training and {len(test)} test cases, patch {chosen.patch_vox}, "
        f"batch {chosen.batch}")  # fmt: skip
    return folder, options.output / "nnUNet_raw" / "Dataset001_Bench" / "imagesTs"


def speed(options: Options) -> None:
    """Seconds an iteration, in turn; peak memory; share of what one large convolution reaches."""
    folder, _ = set_up(options)
    sides = {"nnU-Net v2": nnunet_side(options), "fednnunet": our_side(folder, "nnunet")}
    if options.compile:
        sides["fednnunet, torch.compile"] = our_side(folder, "nnunet", compiled=True)
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    waits = {}
    for turn in range(options.turns + 1):
        for name, side in sides.items():
            time.sleep(1)  # let the other side's processes come to rest
            answer = side.ask("train", iterations=options.iterations, total=1000)
            waits[name] = answer.get("wait")
            if turn:
                seconds[name] += answer["seconds"]
    limit = sides["fednnunet"].ask("limit")
    rows = [_row(name, seconds, side.ask("memory")["gib"], limit) for name, side in sides.items()]
    for side in sides.values():
        side.end()
    result = {"rows": rows, "limit": limit, "wait": waits, "seconds": seconds}
    (options.output / "speed.json").write_text(json.dumps(result, indent=1))
    _show_speed(rows, limit, waits["fednnunet"])


def _row(name: str, seconds: dict[str, list[float]], gib: float, limit: dict) -> dict[str, Any]:
    middle = statistics.median(seconds[name])
    first = statistics.median(seconds["nnU-Net v2"])
    share = limit["step"] / middle / limit["rate"]
    return {"side": name, "seconds": middle, "ratio": first / middle, "gib": gib, "share": share}


def _show_speed(rows: list[dict[str, Any]], limit: dict[str, Any], wait: float) -> None:
    table = Table(title="A training iteration, medians")
    title = f"of one large {limit['precision']} convolution"
    for column in ("side", "s / iteration", "times as fast", "peak GiB", title):
        table.add_column(column)
    for row in rows:
        table.add_row(
            row["side"],
            f"{row['seconds']:.2f}",
            f"{row['ratio']:.2f}",
            f"{row['gib']:.2f}",
            f"{row['share']:.0%}",
        )
    say(table)
    say(f"waiting for data: {wait:.1%}; large convolution: {limit['rate'] / 1e9:.0f} Gflop/s")


def mean_dice(options: Options, side: Side, images: Path, name: str) -> float:
    """Mean foreground Dice over the test cases, by our own scores for both sides."""
    out = options.output / "masks" / name
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    side.ask("predict", images=str(images), out=str(out))
    scores = score_pairs(pair_cases(out, images.with_name("labelsTs")), TASK)
    return statistics.fmean(score.dice for score in scores)


def same_iterations(options: Options) -> None:
    """Dice of both sides after the same number of iterations of the same plan and recipe."""
    folder, images = set_up(options)
    found: dict[str, list[float]] = {"nnU-Net v2": [], "fednnunet": []}
    for seed in range(options.seeds):
        for name in found:
            ours = name == "fednnunet"
            side = our_side(folder, "nnunet", seed) if ours else nnunet_side(options, seed)
            side.ask("train", iterations=options.iterations, total=options.iterations)
            found[name].append(mean_dice(options, side, images, f"{name}_{seed}"))
            side.end()
            say(f"seed {seed}, {name}: Dice {found[name][-1]:.3f}")
            (options.output / "dice.json").write_text(json.dumps(found, indent=1))
    ours, theirs = (statistics.fmean(found[name]) for name in ("fednnunet", "nnU-Net v2"))
    say(f"after {options.iterations} iterations: fednnunet {ours:.4f}, nnU-Net {theirs:.4f}, "
        f"difference {ours - theirs:+.4f} over {options.seeds} seeds")  # fmt: skip


def against_time(options: Options) -> None:
    """Dice against training time: the `fast` recipe and `cpu` plan, and stock nnU-Net."""
    _, images = set_up(options)
    train, _ = cases_of(options)
    folder = options.output / "fast"
    prepare_ours(train, "cpu", 0, folder)
    curves: dict[str, list[tuple[float, float]]] = {"nnU-Net v2": [], "fednnunet fast": []}
    for iterations in (25, 50, 100, 200, 400, 800):
        side = our_side(folder, "fast")
        spent = sum(side.ask("train", iterations=iterations, total=iterations)["seconds"])
        dice = mean_dice(options, side, images, f"fast_{iterations}")
        side.end()
        curves["fednnunet fast"].append((spent, dice))
        say(f"fast, {iterations} iterations: {spent:.0f} s, Dice {dice:.3f}")
        if spent > options.minutes * 60 / 2:
            break
    side, spent = nnunet_side(options), 0.0
    while spent < options.minutes * 60:
        spent += sum(side.ask("train", iterations=10, total=1000)["seconds"])
        curves["nnU-Net v2"].append((spent, mean_dice(options, side, images, "nnunet")))
        say(f"nnU-Net, {spent:.0f} s: Dice {curves['nnU-Net v2'][-1][1]:.3f}")
    side.end()
    (options.output / "fast.json").write_text(json.dumps(curves, indent=1))
    draw(curves, options.output / "fast.png")


def draw(curves: dict[str, list[tuple[float, float]]], path: Path) -> None:
    """Both curves in one picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, points in curves.items():
        axes.plot(*zip(*points, strict=True), marker="o", label=name)
    axes.set(xlabel="seconds of training", ylabel="mean foreground Dice", xscale="log")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=150)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the mode that was asked for."""
    options = parse(Options, argv, prog="bench_training.py", about="Training against nnU-Net v2.")
    options.output.mkdir(parents=True, exist_ok=True)
    mode = same_iterations if options.dice else against_time if options.fast else speed
    return run_command(lambda: mode(options))


if __name__ == "__main__":
    sys.exit(main())
