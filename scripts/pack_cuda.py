"""Everything that check_cuda.py needs on a bare machine, in one file: python scripts/pack_cuda.py.

The machine has Linux on x86-64, Python 3.12, torch, numpy, scipy, safetensors, scikit-image, pandas
and rich, and no network. The file holds this checkout (what git tracks, as it lies here), the few
packages that are missing there, unpacked, and hippocampus prepared for training. CT-like volumes
are drawn there: their noise would not pack. One line unpacks and runs it:

    tar xzf cuda.tar.gz && sh fednnunet_cuda/run.sh -o OUT --minutes 8
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from bench_training_sides import CONFIGURATION, TASK, plan_of  # noqa: E402

from fednnunet import records  # noqa: E402
from fednnunet.commands.cli import Opt, parse, run_command  # noqa: E402
from fednnunet.dataset import Case, read_dataset, split_cases  # noqa: E402
from fednnunet.errors import InputError  # noqa: E402
from fednnunet.preprocess.store import prepare_site  # noqa: E402

ROOT = HERE.parent
NAME, MOST_MIB = "fednnunet_cuda", 60
MISSING = ("batchgeneratorsv2", "blosc2", "ndindex", "numexpr")
PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014", "manylinux1")
PLANNERS = ("plain", "cpu")  # both prepare alike, so one store serves both

RUN = """#!/bin/sh
# check_cuda.py with what was packed; options go on to it
here=$(cd "$(dirname "$0")" && pwd)
export PYTHONPATH="$here/site:$here/checkout" PYTHONUNBUFFERED=1
exec python3 "$here/checkout/scripts/check_cuda.py" --data "$here/data" "$@"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of packing."""

    output: Annotated[Path, Opt(short="-o")] = Path("cuda.tar.gz")
    """file to write"""
    data: Path = ROOT.parent / "shared" / "data" / "hippocampus"
    """folder of hippocampus sites"""
    python: str = "3.12"
    """version of Python there"""
    workers: int = 2
    """processes that prepare cases"""


def pack(options: Options) -> None:
    """Gather all parts and write the file."""
    with tempfile.TemporaryDirectory(prefix="pack-cuda-") as name:
        folder = Path(name) / NAME
        copy_checkout(folder / "checkout")
        unpack_wheels(options.python, folder / "site")
        prepare_hippocampus(options.data, folder / "data" / "hippocampus", options.workers)
        (folder / "run.sh").write_text(RUN)
        with tarfile.open(options.output, "w:gz") as archive:
            archive.add(folder, NAME)
    size = options.output.stat().st_size / 2**20
    print(f"{options.output}: {size:.1f} MiB")
    if size > MOST_MIB:
        raise InputError(f"the file has {size:.0f} MiB", mend=f"pack at most {MOST_MIB} MiB")


def copy_checkout(folder: Path) -> None:
    """Every file that git tracks, as it lies here."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        source, target = ROOT / name, folder / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def unpack_wheels(python: str, folder: Path) -> None:
    """The missing packages, in the versions that the tests pass with."""
    pinned = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line
    )
    with tempfile.TemporaryDirectory(prefix="wheels-") as place:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", place]
        command += ["--only-binary=:all:", "--python-version", python, "--implementation", "cp"]
        for platform in PLATFORMS:
            command += ["--platform", f"{platform}_x86_64"]
        subprocess.run([*command, *(f"{name}=={pinned[name]}" for name in MISSING)], check=True)
        for wheel in sorted(Path(place).glob("*.whl")):
            with zipfile.ZipFile(wheel) as content:
                content.extractall(folder)


def prepare_hippocampus(data: Path, folder: Path, workers: int) -> None:
    """All cases prepared by nnU-Net's plan, two plans for them, and which cases are held out."""
    every: list[Case] = []
    sites, held_out = {}, []
    for site in sorted(path for path in data.iterdir() if (path / "imagesTr").is_dir()):
        cases = read_dataset(site, TASK).cases
        training, rest = split_cases(cases, fraction=0.2, seed=0)
        every += cases
        sites[site.name] = [case.name for case in training]
        held_out += [case.name for case in rest]
    for planner in PLANNERS:
        plan = plan_of(every, planner, 0)
        records.write(plan, folder / f"{planner}.json")
        prepare_site(every, plan, CONFIGURATION, folder / "prepared", workers=workers)
    (folder / "split.json").write_text(json.dumps({"sites": sites, "held_out": held_out}))


def main(argv: Sequence[str] | None = None) -> int:
    """Pack."""
    about = "Pack what check_cuda.py needs on a bare machine."
    return run_command(lambda: pack(parse(Options, argv, prog="pack_cuda.py", about=about)))


if __name__ == "__main__":
    sys.exit(main())
