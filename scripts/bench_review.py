"""Wrong label maps at one site: does the review name them, and what does each `noisy` bring?

Of the hippocampus sites one gets 20 % wrong training label maps, half of them with swapped classes
and half shifted by 4 voxels. A federation trains on them as they are; its global model reviews the
site; a reader who looks at the first 30 % of the list calls the wrong ones wrong, and accepts a
corrected map that is nearer to the true one. Then each setting of `training.noisy` is trained.
Everything is stored on its own; the same command goes on where it was stopped.

    python scripts/bench_review.py -o OUT --minutes 60
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import numpy as np
from bench_clock import Timed, TimeIsUp, minutes_from_now, say_stopped
from weaken_marks import FAULTS
from weaken_site import Weakening, held_out_names, weaken_site

from fednnunet import io, records
from fednnunet.commands.cli import Opt, check_output, parse, run_command
from fednnunet.commands.compare_runs import RunJob, collect, train_run
from fednnunet.commands.site_faults import show_fault
from fednnunet.dataset import read_dataset
from fednnunet.dataset_header import task_of
from fednnunet.evaluation.doubtful import Noisy
from fednnunet.evaluation.label_review import write_doubtful
from fednnunet.federation.spec import Budget, Federation, SiteSpec
from fednnunet.federation.training_spec import Training
from fednnunet.federation.workflows.plan import plan_together
from fednnunet.federation.workflows.simulation import simulation_engine
from fednnunet.files import write_text
from fednnunet.inference.bundle import read_bundle
from fednnunet.inference.compute import choose_compute
from fednnunet.inference.review_labels import review_labels
from fednnunet.planning.plan import Plan, read_plan

ROOT = Path(__file__).resolve().parents[1]
POLICY = ROOT / "plans" / "public_data_site.toml"
SITES = ("site_a", "site_b", "site_c", "site_d")
HELD_OUT, SPLIT_SEED, WRONG, FIRST, SHIFT_VOX = 0.3, 0, 0.2, 0.3, 4
CELLS: dict[str, Noisy] = {
    "clean": "keep",
    "keep": "keep",
    "down-weight": "down-weight",
    "drop": "drop",
    "correct": "correct",
}
ROWS = tuple(CELLS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to train, and how long."""

    output: Annotated[Path, Opt(short="-o")]
    """folder for the trainings and the table"""
    data: Path = ROOT.parent / "shared" / "data" / "hippocampus"
    """folder with site_a to site_d"""
    noisy_site: str = "site_c"
    """the site with wrong label maps"""
    rounds: int = 14
    """rounds of every training"""
    iterations: int = 10
    """iterations of each site in a round"""
    seed: int = 0
    """seed of the trainings and of what is wrong"""
    minutes: float = math.inf
    """stop after so many minutes, between two rounds; the same command goes on"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the review found: the wrong cases, and those among the first `looked_at` of the list."""

    cases: int
    looked_at: int
    wrong: tuple[str, ...]
    named: tuple[str, ...]
    accepted: tuple[str, ...] = ()
    """Those of them whose corrected map is nearer to the true one than the wrong map."""

    @property
    def share(self) -> float:
        """The share of the wrong cases that is named."""
        return len(self.named) / max(len(self.wrong), 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench(Timed):
    """The settings of a call; `shape` may change a plan, for tests."""

    options: Options
    shape: Callable[[Plan], Plan] = lambda plan: plan

    @property
    def review_folder(self) -> Path:
        """Where the noisy site keeps its review."""
        return self.options.output / "review"


def wrong_names(names: Collection[str], seed: int) -> dict[str, str]:
    """The cases whose maps are wrong, with their fault: every other one swapped or shifted."""
    ranked = sorted(names, key=lambda name: sha256(f"{seed}/{name}".encode()).digest())
    chosen = ranked[: round(WRONG * len(ranked))]
    return {name: ("swapped", "shifted")[place % 2] for place, name in enumerate(chosen)}


def make_site(bench: Bench, name: str, *, wrong: bool) -> Path:
    """A site's folder, whose held-out cases are its test set; with some wrong maps if asked for."""
    options = bench.options
    source = options.data / name
    folder = options.output / "data" / ("wrong" if wrong else "clean") / name
    if folder.is_dir():
        return folder
    held = held_out_names(source, share=HELD_OUT, seed=SPLIT_SEED)
    cases = {case.name: case for case in read_dataset(source, task_of(source)).cases}
    trained = cases.keys() - set(held)
    building = folder.with_name(f".tmp-{name}")
    building.parent.mkdir(parents=True, exist_ok=True)
    weaken_site(source, building, Weakening(kind="full"), keep=trained, test=held)
    for case, fault in wrong_names(trained, options.seed).items() if wrong else ():
        label = cases[case].label
        assert label is not None
        volume = io.read_label(label)
        rng = np.random.default_rng(list(sha256(f"{options.seed}/{case}".encode()).digest()[:8]))
        turned = FAULTS[fault](volume.array[0], rng, SHIFT_VOX)
        io.write_mask(turned, volume.geometry, building / "labelsTr" / label.name, like=label)
    building.rename(folder)
    return folder


def federation_of(bench: Bench, cell: str) -> Federation:
    """The federation of a cell; the noisy site's policy names its review, if there is one."""
    options, out = bench.options, bench.options.output
    policy = out / "noisy_site.toml"
    listed = bench.review_folder.resolve() / "doubtful.json"
    write_text(policy, POLICY.read_text() + f'doubtful_labels = "{listed}"\n')
    sites = {}
    for name in SITES:
        noisy = name == options.noisy_site and cell != "clean"
        sites[name] = SiteSpec(
            folder=make_site(bench, name, wrong=noisy), policy=policy if noisy else POLICY
        )
    return Federation(
        task=task_of(options.data / SITES[0]),
        sites=sites,
        budget=Budget(planner="cpu"),
        training=Training(
            method="fedavg",  # type: ignore[arg-type] # a preset's name becomes its settings
            recipe="fast",
            rounds=options.rounds,
            iterations_per_round=options.iterations,
            held_out=0.0,
            seed=options.seed,
            split_seed=SPLIT_SEED,
            noisy=CELLS[cell],
        ),
    )


def job_of(bench: Bench, cell: str) -> RunJob:
    """The run of a cell, by the plan of the clean sites."""
    out = bench.options.output
    path = out / "plan.json"
    if not path.is_file():
        clean = federation_of(bench, "clean")
        engine = simulation_engine(clean, out / "planning", on_fault=show_fault)
        records.write(bench.shape(plan_together(engine, clean).plan), path)
    return RunJob(
        folder=out / "runs" / cell,
        prepared=out / "prepared" / cell,
        federation=federation_of(bench, cell),
        plan=read_plan(path),
    )


def review(bench: Bench) -> Found:
    """Review the noisy site by the model that trained on it, and take over what a reader says."""
    path = bench.options.output / "found.json"
    if path.is_file():
        return records.read(Found, path)
    options, folder = bench.options, bench.review_folder
    site = make_site(bench, options.noisy_site, wrong=True)
    bundle = read_bundle(options.output / "runs" / "keep" / "global")
    cases = read_dataset(site, bundle.plan.task).cases
    reviewed = review_labels([bundle], cases, folder, compute=choose_compute("cpu")).review
    ranked = [case.case for case in reviewed.cases]
    wrong = wrong_names(ranked, options.seed)
    first = ranked[: round(FIRST * len(ranked))]
    named = [name for name in first if name in wrong]
    corrected = {case.case: folder / case.corrected for case in reviewed.cases}
    truth, taught = (options.data / options.noisy_site / "labelsTr", site / "labelsTr")
    accepted = [
        name
        for name in named
        if _likeness(corrected[name], truth / corrected[name].name)
        > _likeness(taught / corrected[name].name, truth / corrected[name].name)
    ]
    write_doubtful(folder, {name: name in accepted for name in named}, weight=0.1)
    found = Found(
        cases=len(ranked),
        looked_at=len(first),
        wrong=tuple(sorted(wrong)),
        named=tuple(named),
        accepted=tuple(accepted),
    )
    records.write(found, path)
    return found


def _likeness(path: Path, truth: Path) -> float:
    """Mean Dice over the classes of the true map."""
    ours, theirs = io.read_label(path).array, io.read_label(truth).array
    return statistics.fmean(
        2 * int(((ours == v) & (theirs == v)).sum()) / int((ours == v).sum() + (theirs == v).sum())
        for v in np.unique(theirs[theirs > 0])
    )


def dice_of_cell(bench: Bench, cell: str) -> tuple[float, float]:
    """Mean Dice of held-out cases, of all sites and at the noisy one; trains what is missing."""
    job = job_of(bench, cell)
    train_run(job, observer=bench.observe)
    trial = next(trial for trial in collect([job]) if trial.model == "global")
    means = {site: [c.dice for c in cases] for site, cases in trial.cases.items()}
    everything = [dice for values in means.values() for dice in values]
    return statistics.fmean(everything), statistics.fmean(means[bench.options.noisy_site])


def table_of(found: Found, rows: dict[str, tuple[float, float]]) -> str:
    """The figures as Markdown."""
    lines = [
        f"The review named {len(found.named)} of {len(found.wrong)} wrong label maps within the "
        f"first {found.looked_at} of {found.cases} ({found.share:.0%}); "
        f"{len(found.accepted)} corrected maps were accepted.",
        "",
        "| labels, `noisy` | Dice | at the noisy site |",
        "|---|---|---|",
        *(f"| {cell} | {both[0]:.4f} | {both[1]:.4f} |" for cell, both in rows.items()),
    ]
    return "\n".join(lines) + "\n"


def _run(options: Options, shape: Callable[[Plan], Plan]) -> None:
    check_output(options.output)
    options = dataclasses.replace(options, output=options.output.resolve())
    bench = Bench(options=options, stop_at=minutes_from_now(options.minutes), shape=shape)
    rows: dict[str, tuple[float, float]] = {}
    try:
        rows["keep"] = dice_of_cell(bench, "keep")
        found = review(bench)
        for cell in ROWS:
            rows[cell] = dice_of_cell(bench, cell)
            text = table_of(found, {name: rows[name] for name in ROWS if name in rows})
            write_text(options.output / "review.md", text)
    except TimeIsUp:
        say_stopped()
        return
    print(text)


def main(argv: Sequence[str] | None = None, *, shape: Callable[[Plan], Plan] | None = None) -> int:
    """Train, review, and print the table when all is done."""
    options = parse(Options, argv, prog="bench_review.py", about=str(__doc__).splitlines()[0])
    return run_command(partial(_run, options, shape or (lambda plan: plan)))


if __name__ == "__main__":
    raise SystemExit(main())
