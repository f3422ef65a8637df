"""Prediction beside nnU-Net v2's with the same weights, in one run: time, memory and agreement.

    python scripts/bench_inference.py --nnunet-python ENV/bin/python [--sets small,ct,large]

small: 20 cases of hippocampus; ct: a made volume of 512x512x200 with 3 classes; large: one of
512x512x600 with 100 classes, for our side alone, within `--large-gib`.

Both programs are started from the command line on the same files, in turn, and predict without
mirroring with the weights of one bundle, which is exported for nnU-Net. Memory is sampled over all
processes of a program. CPU seconds are those of all its processes: on a machine that others use,
they say more than the clock. `small` also measures both in one process each, a case at a time.
Without `--bundle` the weights of `small` are untrained, and so are all others.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from fednnunet import io, records
from fednnunet.dataset import Case, list_images, read_dataset
from fednnunet.inference.bundle import Bundle, read_bundle, write_bundle
from fednnunet.interop.nnunet_export import export_nnunet
from fednnunet.planning.fingerprint import Fingerprint
from fednnunet.planning.plan import Architecture, Configuration, Intensity, Plan, Stage
from fednnunet.planning.planner import make_plan
from fednnunet.planning.shapes import ShapeSketch
from fednnunet.planning.spacing import target_spacing
from fednnunet.preprocess.measure_site import measure_cases
from fednnunet.task import Task
from fednnunet.training.initial import initial_tensors
from fednnunet.volume import Geometry, Volume

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from watch_processes import Watched, watch  # noqa: E402

SMALL = Task(name="bench", channels=("MRI",), labels=("background", "anterior", "posterior"))
CT = Task(name="ct", channels=("CT",), labels=("background", "organ", "lesion"))
CONFIGURATION = "3d_fullres"


@dataclass(frozen=True)
class Row:
    """Medians over the repeats of one program."""

    seconds: float
    cpu_seconds: float
    total_gib: float
    process_gib: float


def main(argv: Sequence[str] | None = None) -> int:
    """Run the sets asked for, print the tables, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nnunet-python", type=Path, required=True)
    parser.add_argument("--sets", default="small,ct,large")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--bundle", type=Path, help="a trained bundle for small")
    parser.add_argument("--planner", default="cpu", help="of the plans that are made here")
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--large-gib", type=float, default=8.0)
    parser.add_argument("--large-step", type=float, default=0.5, help="distance of its tiles")
    parser.add_argument("-o", "--output", type=Path, default=Path("bench_inference.json"))
    options = parser.parse_args(argv)
    results: dict[str, object] = {}
    for name in options.sets.split(","):
        with tempfile.TemporaryDirectory(prefix="bench-inference-") as place:
            results[name] = SETS[name](Path(place), options)
        print(json.dumps({name: results[name]}, indent=1), flush=True)
        records.write(results, options.output)
    return 0


def small(folder: Path, options: argparse.Namespace) -> dict[str, object]:
    """Many small cases, from the command line and in one process."""
    sites = sorted(path for path in (options.data / "hippocampus").iterdir() if path.is_dir())
    cases = [case for site in sites for case in read_dataset(site, SMALL).cases]
    cases = cases[:: max(1, len(cases) // options.cases)][: options.cases]
    images = folder / "images"
    images.mkdir()
    for case in cases:
        (images / f"{case.name}_0000.nii.gz").symlink_to(case.images[0].resolve())
    bundle = (
        read_bundle(options.bundle)
        if options.bundle
        else bundle_of(plan_of(cases, SMALL, options.planner), folder / "bundle")
    )
    model = export_nnunet([bundle], folder / "model").path
    if options.bundle:
        shutil.copytree(options.bundle, folder / "bundle")
    found = compare(folder, images, options, folds="0")
    return found | {"in one process": in_process(folder, bundle, images, model, options)}


def ct(folder: Path, options: argparse.Namespace) -> dict[str, object]:
    """A CT volume of 512x512x200."""
    geometry = Geometry(spacing_mm=(2.25, 0.8, 0.8))
    image, label = draw_ct(200, 2)
    write_image(image, geometry, folder / "images" / "ct_0000.nii.gz")
    io.write_mask(label, geometry, folder / "labels" / "ct.nii.gz")
    path, truth = folder / "images" / "ct_0000.nii.gz", folder / "labels" / "ct.nii.gz"
    case = Case(name="ct", images=(path,), label=truth, group="ct")
    bundle = bundle_of(plan_of([case], CT, options.planner), folder / "bundle")
    export_nnunet([bundle], folder / "model")
    return compare(folder, folder / "images", options, folds="0", limits=["--memory-gib", "4"])


def large(folder: Path, options: argparse.Namespace) -> dict[str, object]:
    """A volume of 512x512x600 with 100 classes, for our side, by a network of few features."""
    geometry = Geometry(spacing_mm=(1.0, 0.8, 0.8))
    image, label = draw_ct(600, 99)
    write_image(image, geometry, folder / "images" / "ct_0000.nii.gz")
    del image, label
    labels = ("background", *(f"label {i}" for i in range(1, 100)))
    task = Task(name="large", channels=("CT",), labels=labels)
    bundle = bundle_of(large_plan(task), folder / "bundle")
    limit = options.large_gib
    settings = ["--memory-gib", f"{limit:g}", "--step", f"{options.large_step:g}"]
    found = run(our_command(folder, folder / "images", settings), folder)
    spacing = bundle.settings.spacing_mm
    known = zip((600, 512, 512), geometry.spacing_mm, spacing, strict=True)
    prepared = [round(n * s / t) for n, s, t in known]
    theirs = 100 * 4 * (np.prod(prepared) + 600 * 512 * 512) / 2**30
    return {
        "ours": asdict(found),
        "limit, GiB": limit,
        "step": options.large_step,
        "prepared": prepared,
        "patch": list(bundle.settings.patch_vox),
        "nnU-Net's logits at both spacings in float32, GiB (computed)": theirs,
        "machine": machine(),
    }


SETS = {"small": small, "ct": ct, "large": large}


def compare(
    folder: Path,
    images: Path,
    options: argparse.Namespace,
    *,
    folds: str,
    limits: Sequence[str] = (),
) -> dict[str, object]:
    """Run both programs in turn, `repeats` times; medians, ratios and agreement."""
    runs: dict[str, list[Row]] = {}
    commands = {
        "nnunet": nnunet_command(folder, images, options, folds),
        "ours": our_command(folder, images, limits),
    }
    for _ in range(options.repeats):
        for key, command in commands.items():
            shutil.rmtree(folder / f"masks_{key}", ignore_errors=True)
            runs.setdefault(key, []).append(run(command, folder))
    rows = {key: median(found) for key, found in runs.items()}
    ours, theirs = rows["ours"], rows["nnunet"]
    return {
        "cases": len(list(images.iterdir())),
        "rows": {key: asdict(row) for key, row in rows.items()},
        "times faster": theirs.seconds / ours.seconds,
        "times less CPU": theirs.cpu_seconds / ours.cpu_seconds,
        "share of memory": ours.total_gib / theirs.total_gib,
        "agreement": agreement(folder / "masks_ours", folder / "masks_nnunet"),
        "machine": machine(),
    }


def in_process(
    folder: Path, bundle: Bundle, images: Path, model: Path, options: argparse.Namespace
) -> dict[str, float]:
    """Median seconds of a case, reading and writing included, once the networks are loaded."""
    from bench_training_sides import Side

    from fednnunet.inference.compute import choose_compute
    from fednnunet.inference.predict import PredictOptions, predict_cases

    script = ROOT / "scripts" / "bench_inference_nnunet.py"
    side = Side([str(options.nnunet_python), str(script), str(model)], folder / "side.log")
    cases, compute = list_images(images, 1), choose_compute("cpu")
    seconds: dict[str, list[float]] = {"ours": [], "nnunet": []}
    for case in cases:
        answer = side.ask("predict", image=str(case.images[0]), out=str(folder / "one" / case.name))
        seconds["nnunet"].append(answer["seconds"])
        begin = time.perf_counter()
        again = PredictOptions(overwrite=True)
        predict_cases(bundle, [case], folder / "two", compute=compute, options=again)
        seconds["ours"].append(time.perf_counter() - begin)
    side.end()
    found = {key: statistics.median(values) for key, values in seconds.items()}
    return found | {"ours / nnunet": found["ours"] / found["nnunet"]}


def nnunet_command(
    folder: Path, images: Path, options: argparse.Namespace, folds: str
) -> list[str]:
    """nnU-Net's own command for an exported model."""
    tool = options.nnunet_python.parent / "nnUNetv2_predict_from_modelfolder"
    places = ["-i", str(images), "-o", str(folder / "masks_nnunet"), "-m", str(folder / "model")]
    return [str(tool), *places, "-f", folds, "-device", "cpu", "--disable_tta"]


def our_command(folder: Path, images: Path, limits: Sequence[str]) -> list[str]:
    """Our command for the bundle."""
    code = "import sys; from fednnunet.commands.predict import main; sys.exit(main())"
    places = [str(folder / "bundle"), "-i", str(images), "-o", str(folder / "masks_ours")]
    return [sys.executable, "-c", code, *places, "--device", "cpu", *limits]


def run(command: list[str], folder: Path) -> Row:
    """Run a command to its end and watch its processes; stops the benchmark if it fails."""
    names = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
    environment = dict(os.environ) | {name: str(folder / name) for name in names}
    before = cpu_of_children()
    with (folder / "log.txt").open("w") as log:
        watched: Watched = watch(command, environment, log)
    if watched.code:
        raise SystemExit(f"{command} failed:\n{(folder / 'log.txt').read_text()[-3000:]}")
    spent = cpu_of_children() - before
    print(f"  {Path(command[0]).name}: {watched.seconds:.1f} s, {spent:.1f} s of CPU", flush=True)
    return Row(watched.seconds, spent, watched.total_gib, watched.process_gib)


def cpu_of_children() -> float:
    """CPU seconds of all processes that this one has started and that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def median(rows: Sequence[Row]) -> Row:
    """Medians of every figure."""
    fields = Row.__dataclass_fields__
    return Row(**{name: statistics.median(getattr(row, name) for row in rows) for name in fields})


def agreement(ours: Path, theirs: Path) -> dict[str, float]:
    """The smallest share of equal voxels, and the smallest Dice of a class, over all cases."""
    equal, dice = [], []
    for path in sorted(ours.glob("*.nii.gz")):
        one, two = (io.read_label(folder / path.name).array for folder in (ours, theirs))
        equal.append(float((one == two).mean()))
        for value in set(np.unique(one)) | set(np.unique(two)) - {0}:
            first, second = one == value, two == value
            dice.append(float(2 * (first & second).sum() / (first.sum() + second.sum())))
    return {"equal voxels": min(equal), "dice": min(dice, default=1.0), "cases": len(equal)}


def plan_of(cases: Sequence[Case], task: Task, planner: str) -> Plan:
    """Our plan for the cases."""
    measured = measure_cases(cases, task, workers=1)
    whole = Fingerprint.of(task, measured)
    target = target_spacing(whole)
    shapes = ShapeSketch.of_cases(target, [(c.spacing_mm, c.shape_vox) for c in measured])
    plan = make_plan(whole, shapes, planner=planner)
    return replace(plan, configurations=(plan.configuration(CONFIGURATION),))


def large_plan(task: Task) -> Plan:
    """A plan at 1.5 mm with a network of two stages, so that the volume decides the memory."""
    stages = tuple(
        Stage(
            features=8 * (i + 1),
            kernel=(3, 3, 3),
            stride=(1 + i,) * 3,
            convs=1,
            decoder_convs=1 - i,
        )
        for i in range(2)
    )
    configuration = Configuration(
        name=CONFIGURATION,
        spacing_mm=(1.5, 1.5, 1.5),
        patch_vox=(128, 128, 128),
        batch=2,
        median_shape_vox=(400.0, 273.0, 273.0),
        normalisation=("ct",),
        use_mask=(False,),
        architecture=Architecture(kind="plain", stages=stages),
        batch_dice=False,
    )
    intensity = Intensity(
        mean=60, median=60, std=40, min=-200, max=300, percentile_00_5=-100, percentile_99_5=200
    )
    return Plan(
        task=task,
        planner="plain",
        configurations=(configuration,),
        intensity=(intensity,),
        cases=5,
    )


def bundle_of(plan: Plan, folder: Path) -> Bundle:
    """A bundle of untrained weights."""
    weights = initial_tensors(plan, CONFIGURATION, seed=1)
    return write_bundle(folder, plan=plan, configuration=CONFIGURATION, weights=weights)


def draw_ct(depth: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """An image int16 and labels uint8 (depth, 512, 512): balls in a body, and noise."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 12, (512, 512)).astype(np.int16)
    y, x = np.mgrid[:512, :512]
    body = np.where((y - 256) ** 2 + (x - 256) ** 2 < 220**2, 40, -1000).astype(np.int16)
    image = np.stack([body + np.roll(noise, (7 * z, 13 * z), (0, 1)) for z in range(depth)])
    label = np.zeros(image.shape, np.uint8)
    ball = (np.indices((49, 49, 49)) - 24).astype(np.int64)
    inside = (ball**2).sum(axis=0) < 24**2
    for value in range(1, classes + 1):
        corner = rng.integers((0, 100, 100), (depth - 49, 360, 360))
        place = tuple(slice(c, c + 49) for c in corner.tolist())
        image[place][inside] += np.int16(60 + value)
        label[place][inside] = value
    return image, label


def write_image(image: np.ndarray, geometry: Geometry, path: Path) -> None:
    """Write one channel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    io.write_volume(Volume(array=image[None], geometry=geometry), path)


def machine() -> dict[str, object]:
    """What else the machine does."""
    return {"cpus": os.cpu_count(), "load": os.getloadavg()[0]}


if __name__ == "__main__":
    raise SystemExit(main())
