"""Fingerprint and preparation beside nnU-Net v2's, in one run: time, memory and agreement.

    python scripts/bench_preprocess.py --nnunet-python ENV/bin/python [--sets hippocampus,ct]

Sets: the real hippocampus, spinal_cord_gm and sarcoma_ct, and ct, made here.

Both programs are started from the command line on the same files with the same number of workers,
in turn, and prepare by nnU-Net's own plan. Memory is sampled over all processes of a program.
The CT volumes that are made have 512x512x200 voxels.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from fednnunet import io, records
from fednnunet.volume import Geometry, Volume

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from watch_processes import Watched, watch  # noqa: E402

CT_CASES, CT_SHAPE = 8, (200, 512, 512)


@dataclass(frozen=True)
class Step:
    """Medians over the repeats of one step of one program."""

    seconds: float
    total_gib: float
    process_gib: float


def main(argv: Sequence[str] | None = None) -> int:
    """Run the sets asked for, print the tables, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nnunet-python", type=Path, required=True)
    parser.add_argument("--sets", default="hippocampus,ct")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cases", type=int, default=CT_CASES, help="CT volumes to make")
    parser.add_argument("-o", "--output", type=Path, default=Path("bench_preprocess.json"))
    options = parser.parse_args(argv)
    results = {}
    for name in options.sets.split(","):
        with tempfile.TemporaryDirectory(prefix="bench-preprocess-") as place:
            folder = Path(place)
            raw = folder / "raw" / f"Dataset001_{name}"
            made = name == "ct"
            cases = make_ct(raw, options.cases) if made else link_set(options.data / name, raw)
            results[name] = {"cases": cases, "workers": options.workers}
            results[name] |= compare(folder, raw, options)
            print_table(name, results[name])
            records.write(results, options.output)
    return 0


def link_set(folder: Path, raw: Path) -> int:
    """All sites of a real set as one nnU-Net dataset of links; returns the number of cases."""
    count, header = 0, {}
    for site in sorted(path for path in folder.iterdir() if path.is_dir()):
        header = json.loads((site / "dataset.json").read_text())
        for kind in ("imagesTr", "labelsTr"):
            (raw / kind).mkdir(parents=True, exist_ok=True)
            for path in sorted((site / kind).glob("*.nii.gz")):
                (raw / kind / f"{site.name}_{path.name}").symlink_to(path.resolve())
                count += kind == "labelsTr"
    labels = {name: value for value, name in enumerate(header["labels"])}
    write_header(raw, header["channel_names"]["0"], labels, count)
    return count


def make_ct(raw: Path, count: int) -> int:
    """CT-like volumes (body, organ, lesion, noise) at mixed spacings; returns their number."""
    rng = np.random.default_rng(4)
    y, x = np.ogrid[: CT_SHAPE[1], : CT_SHAPE[2]]
    for case in range(count):
        noise = rng.normal(0, 20, CT_SHAPE[1:]).astype(np.float32)
        image = np.full(CT_SHAPE, -1000, np.int16)
        label = np.zeros(CT_SHAPE, np.uint8)
        radius, shift = rng.uniform(0.7, 1.2), rng.uniform(-30, 30)
        organ = (y - 230 - shift) ** 2 / (70 * radius) ** 2 + (x - 180) ** 2 / 90**2
        for k in range(CT_SHAPE[0]):
            slab = np.where((y - 256) ** 2 / 180**2 + (x - 256) ** 2 / 230**2 < 1, 40, -1000)
            inside = organ + ((k - 100) / (60 * radius)) ** 2 < 1
            lesion = (y - 230) ** 2 + (x - 180) ** 2 + (2.5 * (k - 100)) ** 2 < (25 * radius) ** 2
            slab = slab + 60 * inside - 40 * lesion
            image[k] = slab + np.roll(noise, (7 * k, 13 * k), (0, 1))
            label[k] = np.where(lesion, 2, inside)
        plane = float(rng.uniform(0.7, 0.9)) if case % 4 else 0.8
        spacing = (float(rng.choice([2.0, 2.25, 2.5])), plane, plane)
        geometry = Geometry(spacing_mm=spacing)
        name = f"ct_{case:02d}"
        volume = Volume(array=image[None], geometry=geometry)
        io.write_volume(volume, raw / "imagesTr" / f"{name}_0000.nii.gz")
        io.write_mask(label, geometry, raw / "labelsTr" / f"{name}.nii.gz")
    write_header(raw, "CT", {"background": 0, "organ": 1, "lesion": 2}, count)
    return count


def write_header(raw: Path, channel: str, labels: dict[str, int], count: int) -> None:
    """Write dataset.json."""
    header = {"channel_names": {"0": channel}, "labels": labels, "numTraining": count}
    records.write(header | {"file_ending": ".nii.gz"}, raw / "dataset.json")


def compare(folder: Path, raw: Path, options: argparse.Namespace) -> dict[str, object]:
    """Run both programs in turn, `repeats` times; medians, ratios and agreement."""
    runs: dict[str, list[Watched]] = {}
    stock, ours = folder / "preprocessed" / raw.name, folder / "ours"
    for repeat in range(options.repeats):
        for place in (stock, ours):
            shutil.rmtree(place, ignore_errors=True)
        say(f"{raw.name}: repeat {repeat + 1} of {options.repeats}")
        for key, command in nnunet_steps(options).items():
            runs.setdefault(f"nnunet {key}", []).append(run(command, folder))
        if repeat == 0:
            plan_of_nnunet(stock, folder / "plan.json")
        for key, command in our_steps(raw, folder, options).items():
            runs.setdefault(f"ours {key}", []).append(run(command, folder))
    steps = {key: median(found) for key, found in runs.items()}
    return {
        "steps": {key: asdict(step) for key, step in steps.items()},
        "ratios": ratios(steps),
        "agreement": agreement(stock, ours),
        "machine": {"cpus": os.cpu_count(), "load_before": os.getloadavg()[0]},
    }


def nnunet_steps(options: argparse.Namespace) -> dict[str, list[str]]:
    """nnU-Net's own commands."""
    tools, workers = options.nnunet_python.parent, str(options.workers)
    return {
        "fingerprint": [str(tools / "nnUNetv2_extract_fingerprint"), "-d", "1", "-np", workers],
        "plan": [str(tools / "nnUNetv2_plan_experiment"), "-d", "1"],
        "prepare": [
            *(str(tools / "nnUNetv2_preprocess"), "-d", "1", "-c", "3d_fullres", "-np", workers)
        ],
    }


def our_steps(raw: Path, folder: Path, options: argparse.Namespace) -> dict[str, list[str]]:
    """What a hospital runs."""
    programs, workers = ROOT / "preprocessing", ["--workers", str(options.workers)]
    measure = [sys.executable, str(programs / "fingerprint_site.py"), str(raw), *workers]
    prepare = [sys.executable, str(programs / "prepare_site.py"), str(raw), *workers]
    return {
        "fingerprint": [*measure, "-o", str(folder / "fingerprint.json")],
        "prepare": [*prepare, "--plan", str(folder / "plan.json"), "-o", str(folder / "ours")],
    }


def plan_of_nnunet(stock: Path, path: Path) -> None:
    """nnU-Net's plan as one of ours, so that both prepare to the same spacing and intensities."""
    from fednnunet.interop.nnunet_plans import read_nnunet_plan

    records.write(read_nnunet_plan(stock / "nnUNetPlans.json", stock / "dataset.json"), path)


def run(command: list[str], folder: Path) -> Watched:
    """Run a command to its end and watch its processes; stops the benchmark if it fails."""
    names = {"nnUNet_raw": "raw", "nnUNet_preprocessed": "preprocessed", "nnUNet_results": "out"}
    environment = dict(os.environ) | {key: str(folder / name) for key, name in names.items()}
    with (folder / "log.txt").open("w") as log:
        watched = watch(command, environment, log)
    if watched.code:
        raise SystemExit(f"{command} failed:\n{(folder / 'log.txt').read_text()[-3000:]}")
    say(f"  {Path(command[0]).name} {Path(command[1]).name}: {watched.seconds:.1f} s")
    return watched


def median(runs: list[Watched]) -> Step:
    """Median time and memory of a step."""
    return Step(
        seconds=statistics.median(r.seconds for r in runs),
        total_gib=statistics.median(r.total_gib for r in runs),
        process_gib=statistics.median(r.process_gib for r in runs),
    )


def ratios(steps: dict[str, Step]) -> dict[str, float]:
    """How many times faster, and what share of the memory; planning is not counted."""
    found = {}
    for key in ("fingerprint", "prepare"):
        a, b = steps[f"ours {key}"], steps[f"nnunet {key}"]
        found[f"{key} speed"] = b.seconds / a.seconds
        found[f"{key} memory"] = a.total_gib / b.total_gib
    both = [
        [steps[f"{who} {key}"] for key in ("fingerprint", "prepare")] for who in ("ours", "nnunet")
    ]
    seconds = [sum(step.seconds for step in found) for found in both]
    peaks = [max(step.total_gib for step in found) for found in both]
    return found | {"both speed": seconds[1] / seconds[0], "both memory": peaks[0] / peaks[1]}


def agreement(stock: Path, ours: Path) -> dict[str, float]:
    """The worst case's PSNR in dB and share of equal labels against nnU-Net's prepared cases."""
    from fednnunet.preprocess.store import Store
    from fednnunet.preprocess.stored_case import open_array

    store = Store.open(ours)
    psnr, labels, shapes = [], [], 0
    for name in store.names:
        case = store.case(name)
        data, seg = case.read((0, 0, 0), case.shape)
        folder = next(stock.glob("*3d_fullres"))
        other = open_array(folder / f"{name}.b2nd")[:]
        shapes += other.shape != data.shape
        if other.shape != data.shape:
            continue
        error = float(np.mean((other.astype(np.float64) - data) ** 2))
        psnr.append(10 * np.log10(float(np.ptp(other)) ** 2 / max(error, 1e-30)))
        labels.append(float(np.mean(open_array(folder / f"{name}_seg.b2nd")[:][0] == seg)))
    return {
        "worst psnr, dB": min(psnr),
        "worst label agreement": min(labels),
        "cases": len(psnr),
        "cases of another shape": shapes,
    }


def print_table(name: str, result: dict[str, object]) -> None:
    """Print one set's results."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{name}: {result['cases']} cases, {result['workers']} workers")
    for column in ("step", "seconds", "GiB, all processes", "GiB, largest process"):
        table.add_column(column)
    for key, step in result["steps"].items():  # type: ignore[attr-defined]
        table.add_row(key, *(f"{step[field]:.2f}" for field in Step.__dataclass_fields__))
    console = Console(soft_wrap=True, highlight=False)
    console.print(table)
    for part in ("ratios", "agreement"):
        console.print(json.dumps(result[part]))


def say(text: str) -> None:
    """Report progress at once."""
    print(text, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
