"""Compare our masks with those that nnU-Net v2 predicts with the same weights, exported to it.

    python scripts/bench_export.py BUNDLE IMAGES --nnunet /path/of/nnunet/bin/python -o OUT

`--nnunet` is the Python of an environment with nnunetv2 (2.8.1 here). The script exports the
bundle, lets both programs predict IMAGES with and without mirroring, and prints, for every class,
the smallest and the mean Dice between the two masks of a case. With `--labels` it also prints the
Dice of both against the label maps. It ends with code 1 where a class is below `--least`, or where
one program finds a class that the other does not.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from fednnunet import export_model, io, load_bundle, predict
from fednnunet.task import Task

CODE = """
import sys, torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
torch.set_num_threads(int(sys.argv[5]))
predictor = nnUNetPredictor(use_mirroring=sys.argv[4] == "mirror", device=torch.device("cpu"),
                            allow_tqdm=False)
predictor.initialize_from_trained_model_folder(sys.argv[1], use_folds=(0,))
predictor.predict_from_files(sys.argv[2], sys.argv[3], num_processes_preprocessing=1,
                             num_processes_segmentation_export=1)
"""


def main() -> int:
    """Export, predict twice by each program, and compare."""
    options = _options()
    out: Path = options.output
    bundle = load_bundle(options.bundle)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    images = _images(options, len(bundle.plan.task.channels))
    export_model(bundle, out / "model")
    ways = ["plain", "mirror"] if bundle.mirrored else ["plain"]
    rows, good = [], True
    for way in ways:
        ours, theirs = out / f"ours_{way}", out / f"nnunet_{way}"
        start = time.perf_counter()
        predict(bundle, images, ours, device="cpu", mirror=way == "mirror")
        middle = time.perf_counter()
        _run_nnunet(options, out / "model", images, theirs, way)
        seconds = (middle - start, time.perf_counter() - middle)
        row = _compare(ours, theirs, options.labels, bundle.plan.task)
        row |= {"mirroring": way == "mirror", "seconds": seconds}
        rows.append(row)
        good &= _report(row, options.least)
    if not bundle.mirrored:
        print("not compared with mirroring: the bundle was trained without")
    (out / "compared.json").write_text(json.dumps(rows, indent=1))
    return 0 if good else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--nnunet", type=Path, required=True, help="Python with nnunetv2")
    parser.add_argument("-o", "--output", type=Path, required=True, help="replaced if it is there")
    parser.add_argument("--labels", type=Path, help="label maps of the images")
    parser.add_argument("--cases", type=int, default=20, help="at most this many cases")
    parser.add_argument("--least", type=float, default=0.999, help="smallest mean Dice of a class")
    parser.add_argument("--threads", type=int, default=2, help="of nnU-Net's network")
    return parser.parse_args()


def _images(options: argparse.Namespace, channels: int) -> Path:
    """A folder with links to the images of the first cases."""
    folder: Path = options.output / "images"
    folder.mkdir()
    for path in sorted(options.images.glob("*.nii.gz"))[: options.cases * channels]:
        (folder / path.name).symlink_to(path.resolve())
    return folder


def _run_nnunet(
    options: argparse.Namespace, model: Path, images: Path, output: Path, way: str
) -> None:
    names = ("raw", "preprocessed", "results")
    environment = os.environ | {f"nnUNet_{name}": str(options.output) for name in names}
    environment.pop("PYTHONPATH", None)
    arguments = [model, images, output, way, options.threads]
    subprocess.run(
        [options.nnunet, "-c", CODE, *map(str, arguments)],
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )


def _compare(ours: Path, theirs: Path, labels: Path | None, task: Task) -> dict[str, object]:
    """Dice of each target between the two masks of every case, and of both with the labels."""
    between: dict[str, list[float]] = {target: [] for target in task.targets}
    true: dict[str, list[float]] = {"ours": [], "nnunet": []}
    empty = 0
    for path in sorted(ours.glob("*.nii.gz")):
        one, two = (io.read_label(folder / path.name).array for folder in (ours, theirs))
        truth = io.read_label(labels / path.name).array if labels else None
        for target, values in _targets(task).items():
            first, second = np.isin(one, values), np.isin(two, values)
            empty += not first.any()
            between[target].append(_dice(first, second))
            if truth is not None:
                known = np.isin(truth, values)
                true["ours"].append(_dice(first, known))
                true["nnunet"].append(_dice(second, known))
    return {
        "cases": len(next(iter(between.values()))),
        "empty": empty,
        "between": between,
        "true": {name: float(np.mean(values)) for name, values in true.items() if values},
    }


def _targets(task: Task) -> dict[str, tuple[int, ...]]:
    return task.regions or {name: (value,) for value, name in enumerate(task.labels) if value}


def _dice(one: np.ndarray, two: np.ndarray) -> float:
    both = int(one.sum()) + int(two.sum())
    return 2 * int((one & two).sum()) / both if both else 1.0


def _report(row: dict[str, object], least: float) -> bool:
    print(f"{row['cases']} cases, mirroring {row['mirroring']}, {row['empty']} empty classes")
    print("  seconds: fednnunet {:.1f}, nnU-Net {:.1f}".format(*row["seconds"]))
    print(f"  Dice with the labels: {row['true']}")
    good = True
    for target, values in row["between"].items():
        mean = float(np.mean(values))
        good &= mean >= least
        print(f"  {target}: mean Dice between the masks {mean:.5f}, smallest {min(values):.5f}")
    return good


if __name__ == "__main__":
    sys.exit(main())
