"""Build the wheel, install it into a fresh environment, and predict with it, away from the clone.

    python scripts/check_wheel.py [--dependencies here|install]

`here` lets the new environment see the packages of this one (nothing is downloaded); `install`
installs all dependencies from the package index, as a user does.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fednnunet.commands.cli import parse

ROOT = Path(__file__).resolve().parents[1]

PREPARE = """
import dataclasses, sys
from pathlib import Path
import numpy as np
import fednnunet
from fednnunet import io
from fednnunet.inference.bundle import write_bundle
from fednnunet.planning.plan import Architecture, Stage, read_plan
from fednnunet.training.initial import initial_tensors
from fednnunet.volume import Geometry, Volume

assert Path(fednnunet.__file__).is_relative_to(sys.prefix), fednnunet.__file__
whole = read_plan(Path(sys.argv[1]))
ones, twos, kernel = (1, 1, 1), (2, 2, 2), (3, 3, 3)
stages = (
    Stage(features=4, kernel=kernel, stride=ones, convs=1, decoder_convs=1),
    Stage(features=8, kernel=kernel, stride=twos, convs=1, decoder_convs=0),
)
network = Architecture(kind="plain", stages=stages)
small = dataclasses.replace(
    whole.configuration("3d_fullres"), patch_vox=(8, 8, 8), batch=2, architecture=network
)
plan = dataclasses.replace(whole, configurations=(small,))
weights = initial_tensors(plan, "3d_fullres", seed=0)
write_bundle(Path("bundle"), plan=plan, configuration="3d_fullres", weights=weights)
rng = np.random.default_rng(0)
Path("images").mkdir()
for channel in range(len(plan.task.channels)):
    array = rng.normal(size=(1, 9, 10, 11)).astype(np.float32)
    volume = Volume(array=array, geometry=Geometry(spacing_mm=small.spacing_mm))
    io.write_volume(volume, Path("images") / f"case_{channel:04d}.nii.gz")
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of check_wheel.py."""

    dependencies: Literal["here", "install"] = "here"
    """see this environment's packages, or install all from the index"""


def main(argv: Sequence[str] | None = None) -> int:
    """Raise CalledProcessError where a step fails."""
    about = str(__doc__).splitlines()[0]
    options = parse(Options, argv, prog="check_wheel.py", about=about)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = build(folder / "wheel")
        binaries = install(wheel, folder / "env", options.dependencies)
        python = binaries / "python"
        plan = ROOT / "plans" / "sagittal_spine.plan.json"
        _run([python, "-c", PREPARE, plan], folder)
        command = [binaries / "fednnunet_predict", "bundle", "-i", "images", "-o", "masks"]
        _run([*command, "--device", "cpu"], folder)
        _run([binaries / "fednnunet_plan", "--version"], folder)
        mask = folder / "masks" / "case.nii.gz"
        print(f"{wheel.name}: predicted a mask of {mask.stat().st_size} bytes")
    return 0


def build(folder: Path) -> Path:
    """The wheel of a copy of the tracked files, so that nothing is built into the clone."""
    source = folder / "source"
    source.mkdir(parents=True)
    names = _run(["git", "ls-files", "-z"], ROOT).split("\0")
    for name in filter(None, names):
        if name.startswith("fednnunet/") or "/" not in name:
            target = source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    options = ["--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", folder]
    _run([sys.executable, "-m", "pip", "wheel", *options, source], folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


def install(wheel: Path, folder: Path, dependencies: str) -> Path:
    """A fresh environment with the wheel; returns the folder of its programs."""
    _run([sys.executable, "-m", "venv", folder], wheel.parent)
    binaries = folder / ("Scripts" if os.name == "nt" else "bin")
    here = dependencies == "here"
    if here:
        code = "import sysconfig; print(sysconfig.get_path('purelib'))"
        packages = Path(_run([binaries / "python", "-c", code], folder).strip())
        (packages / "here.pth").write_text(sysconfig.get_path("purelib") + "\n")
    only = ["--no-deps"] if here else []
    _run([binaries / "python", "-m", "pip", "install", "--quiet", *only, wheel], folder)
    return binaries


def _run(command: Sequence[str | Path], folder: Path) -> str:
    """What a command prints; without this process's PYTHONPATH, which names the clone."""
    environment = {key: text for key, text in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        print(done.stdout, done.stderr, file=sys.stderr)
        done.check_returncode()
    return done.stdout


if __name__ == "__main__":
    raise SystemExit(main())
