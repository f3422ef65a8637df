"""Turn four sites into four scanners, to try methods on a federation that truly differs.

site_a stays as it is; site_b gets another contrast curve and a bias field; site_c inverted
contrast and noise; site_d thick slices. All chance comes from the case's name, so a case looks
the same whatever else is there.

    python scripts/make_shifted.py ../shared/data/hippocampus OUT
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import numpy as np

from fednnunet import io
from fednnunet.commands.cli import Opt, parse, run_command
from fednnunet.errors import InputError
from fednnunet.federation.site.policy import FILE_NAME
from fednnunet.files import write_text
from fednnunet.volume import Geometry, Volume

Pair = tuple[Volume, Volume]
SLICES = 3

_POLICY = """\
# The volumes are public, so this site shares exact sums and scores of few cases.
min_cases = 1
min_bin_count = 1
min_scored_cases = 1
min_squared_cases = 1
"""

_FEDERATION = """\
# Four scanners, made by scripts/make_shifted.py. Folders are relative to this file.
[task]
name = "shifted_hippocampus"
channels = ["MRI"]
labels = ["background", "anterior", "posterior"]

{sites}
[budget]
planner = "cpu"

[training]
method = "fedease"
recipe = "fast"
rounds = 24
iterations_per_round = 5
public_rounds = 24
held_out = 0.3
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Where the sites are, and where to write the shifted ones."""

    source: Annotated[Path, Opt(positional=True)]
    """folder with site_a, site_b, site_c and site_d"""
    output: Annotated[Path, Opt(positional=True)]
    """folder for the federation"""


def contrast_and_bias(image: Volume, label: Volume, rng: np.random.Generator) -> Pair:
    """Gamma of the range-normalised image, and a smooth field of up to about 40 per cent."""
    array = image.array.astype(np.float32)
    low, high = float(array.min()), float(array.max())
    scaled = (array - low) / max(high - low, 1e-6)
    gamma = rng.uniform(0.5, 0.7) if rng.random() < 0.5 else rng.uniform(1.5, 2.0)
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in image.shape_vox), indexing="ij")
    field = np.zeros(image.shape_vox)
    for axis in axes:
        field += rng.uniform(-0.2, 0.2) * axis + rng.uniform(-0.15, 0.15) * axis**2
    shifted = scaled**gamma * np.exp(field) * (high - low) + low
    return Volume(array=shifted.astype(np.float32), geometry=image.geometry), label


def inverted_with_noise(image: Volume, label: Volume, rng: np.random.Generator) -> Pair:
    """What was bright becomes dark; Gaussian noise of 3 to 6 per cent of the range."""
    array = image.array.astype(np.float32)
    low, high = float(array.min()), float(array.max())
    noise = rng.normal(0.0, rng.uniform(0.03, 0.06) * (high - low), array.shape)
    return Volume(
        array=(low + high - array + noise).astype(np.float32), geometry=image.geometry
    ), label


def thick_slices(image: Volume, label: Volume, rng: np.random.Generator) -> Pair:
    """Each three slices become one: their mean, with the labels of the middle one."""
    count = image.shape_vox[0] // SLICES
    if count == 0:
        raise InputError(
            f"an image of {image.shape_vox[0]} slices is too thin", mend="leave it out"
        )
    kept = image.array[:, : count * SLICES].astype(np.float32)
    mean = kept.reshape(kept.shape[0], count, SLICES, *kept.shape[2:]).mean(axis=2)
    middle = label.array[:, SLICES // 2 : count * SLICES : SLICES]
    geometry = _thicker(image.geometry)
    return Volume(array=mean, geometry=geometry), Volume(array=middle, geometry=geometry)


SCANNERS: dict[str, Callable[[Volume, Volume, np.random.Generator], Pair] | None] = {
    "site_a": None,
    "site_b": contrast_and_bias,
    "site_c": inverted_with_noise,
    "site_d": thick_slices,
}


def make_shifted(source: Path, output: Path) -> Path:
    """Write the four sites and `federation.toml` under `output`; return the path of the latter."""
    missing = [name for name in SCANNERS if not (source / name / "imagesTr").is_dir()]
    if missing:
        raise InputError(
            f"{source} lacks {', '.join(missing)}",
            where=str(source),
            mend="give the folder with the four hippocampus sites",
        )
    for name, change in SCANNERS.items():
        for kind in ("Tr", "Ts"):
            if (source / name / f"labels{kind}").is_dir():
                _shift_cases(source / name, output / name, kind, change)
        shutil.copyfile(source / name / "dataset.json", output / name / "dataset.json")
        write_text(output / name / FILE_NAME, _POLICY)
    sites = "".join(f'[sites.{name}]\nfolder = "{name}"\n\n' for name in SCANNERS)
    path = output / "federation.toml"
    write_text(path, _FEDERATION.format(sites=sites))
    return path


def _shift_cases(
    source: Path,
    output: Path,
    kind: str,
    change: Callable[[Volume, Volume, np.random.Generator], Pair] | None,
) -> None:
    for label_path in sorted((source / f"labels{kind}").glob("*.nii.gz")):
        case = label_path.name.removesuffix(".nii.gz")
        image_path = source / f"images{kind}" / f"{case}_0000.nii.gz"
        image_out = output / f"images{kind}" / image_path.name
        label_out = output / f"labels{kind}" / label_path.name
        if change is None:
            for original, copy in ((image_path, image_out), (label_path, label_out)):
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(original, copy)
            continue
        seed = int.from_bytes(sha256(case.encode()).digest()[:8], "little")
        image, label = io.read_volume([image_path]), io.read_label(label_path)
        image, label = change(image, label, np.random.default_rng(seed))
        io.write_volume(image, image_out)
        io.write_mask(label.array[0], label.geometry, label_out)


def _thicker(geometry: Geometry) -> Geometry:
    """The grid whose slices are three of the old ones; the origin moves to the middle one."""
    z, y, x = geometry.spacing_mm
    through = np.reshape(geometry.direction, (3, 3))[:, 2]
    shifted = np.asarray(geometry.origin_mm) + through * z * (SLICES - 1) / 2
    return Geometry(
        spacing_mm=(z * SLICES, y, x),
        origin_mm=(float(shifted[0]), float(shifted[1]), float(shifted[2])),
        direction=geometry.direction,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Make the federation and say where its file is."""
    options = parse(Options, argv, prog="make_shifted.py", about=str(__doc__).splitlines()[0])
    return run_command(lambda: print(make_shifted(options.source, options.output)))


if __name__ == "__main__":
    raise SystemExit(main())
