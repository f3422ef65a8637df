"""Make a small federation of three phantom hospitals: volumes, labels and a federation file.

Every patient is a scene of smooth shapes given by formulas in millimetres: a body, an organ, a
small structure that touches it (both labelled), and vessels and blobs that merely distract. Each
hospital images such scenes with its own voxel size, contrast, bias field and noise. All chance
comes from the seed, the hospital's and the case's number, so a case never depends on the others.

    python scripts/make_phantoms.py OUT
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from scipy import ndimage

from fednnunet import io, records
from fednnunet.commands.cli import Opt, parse, run_command
from fednnunet.federation.site.policy import FILE_NAME
from fednnunet.files import write_text
from fednnunet.volume import Geometry, Volume

LABELS = ("background", "organ", "nodule")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hospital:
    """How one hospital images a scene.

    `contrast` holds the mean signals of air, body, organ, nodule and distractors; `direction` the
    orientation of its volumes (ITK convention); `bias` and `noise` are shares of the signal.
    """

    name: str
    shape_vox: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    contrast: tuple[float, float, float, float, float]
    scale: float
    bias: float
    noise: float
    direction: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


_FLIPPED = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)

HOSPITALS = (
    Hospital(
        name="north",
        shape_vox=(32, 32, 32),
        spacing_mm=(1.8, 1.8, 1.8),
        contrast=(0.02, 0.35, 0.60, 0.85, 0.70),
        scale=900.0,
        bias=0.10,
        noise=0.04,
    ),
    Hospital(
        name="south",
        shape_vox=(27, 35, 35),
        spacing_mm=(2.2, 1.65, 1.65),
        contrast=(0.02, 0.40, 0.58, 1.05, 0.75),
        scale=240.0,
        bias=0.20,
        noise=0.07,
        direction=_FLIPPED,
    ),
    Hospital(
        name="west",
        shape_vox=(30, 27, 27),
        spacing_mm=(1.9, 2.2, 2.2),
        contrast=(0.04, 0.30, 0.50, 1.00, 0.70),
        scale=4000.0,
        bias=0.18,
        noise=0.08,
    ),
)

_POLICY = """\
# Phantoms are nobody's patients, so this site shares exact sums and scores of few cases.
# A real site keeps the defaults, which do not.
min_cases = 1
min_bin_count = 1
min_scored_cases = 1
min_squared_cases = 1
"""

_FEDERATION = """\
# Three phantom hospitals, made by scripts/make_phantoms.py. Folders are relative to this file.
[task]
name = "phantoms"
channels = ["MRI"]
labels = ["background", "organ", "nodule"]

{sites}
[budget]
planner = "cpu"
memory_gib = 4

[training]
method = "fedbn_head"
baselines = ["local"]
recipe = "fast"
rounds = 8
iterations_per_round = 15
public_rounds = 2
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to make and where."""

    output: Annotated[Path, Opt(positional=True)]
    """folder for the federation"""
    seed: int = 0
    """the same seed gives the same voxels"""
    train: int = 12
    """training cases at each hospital"""
    test: int = 4
    """test cases at each hospital"""


def make_federation(output: Path, *, seed: int = 0, train: int = 12, test: int = 4) -> Path:
    """Write all hospitals and `federation.toml` under `output`; return the path of the latter."""
    for hospital in HOSPITALS:
        make_hospital(output / hospital.name, hospital, seed=seed, train=train, test=test)
        write_text(output / hospital.name / FILE_NAME, _POLICY)
    sites = "".join(f'[sites.{h.name}]\nfolder = "{h.name}"\n\n' for h in HOSPITALS)
    path = output / "federation.toml"
    write_text(path, _FEDERATION.format(sites=sites))
    return path


def make_hospital(folder: Path, hospital: Hospital, *, seed: int, train: int, test: int) -> None:
    """Write one hospital in nnU-Net's raw layout."""
    for part in ("imagesTr", "labelsTr", "imagesTs", "labelsTs"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for number in range(train + test):
        kind = "Tr" if number < train else "Ts"
        name = f"{hospital.name}_{number:03d}"
        image, label = make_case(hospital, seed=seed, number=number)
        io.write_volume(image, folder / f"images{kind}" / f"{name}_0000.nii.gz")
        mask_path = folder / f"labels{kind}" / f"{name}.nii.gz"
        io.write_mask(label, image.geometry, mask_path)
    dataset = {
        "channel_names": {"0": "MRI"},
        "labels": {name: value for value, name in enumerate(LABELS)},
        "numTraining": train,
        "file_ending": ".nii.gz",
    }
    records.write(dataset, folder / "dataset.json")


def make_case(hospital: Hospital, *, seed: int, number: int) -> tuple[Volume, np.ndarray]:
    """One patient: the image (1, z, y, x) and its label map (z, y, x) uint8."""
    index = [h.name for h in HOSPITALS].index(hospital.name)
    rng = np.random.default_rng([seed, index, number])
    points = _grid_mm(hospital)
    depths = _scene(rng, points)
    label = np.zeros(hospital.shape_vox, np.uint8)
    label[depths[1] > 0] = 1
    label[depths[2] > 0] = 2
    image = _image(rng, depths, hospital, points)
    origin = tuple(float(value) for value in rng.uniform(-80, 80, 3).round(2))
    geometry = Geometry(
        spacing_mm=hospital.spacing_mm,
        origin_mm=(origin[0], origin[1], origin[2]),
        direction=hospital.direction,
    )
    return Volume(array=image[None], geometry=geometry), label


def _grid_mm(hospital: Hospital) -> np.ndarray:
    """Positions of the voxel centres (3, z, y, x) in mm from the middle of the volume."""
    pairs = zip(hospital.shape_vox, hospital.spacing_mm, strict=True)
    axes = [((np.arange(n) - (n - 1) / 2) * step).astype(np.float32) for n, step in pairs]
    return np.stack(np.meshgrid(*axes, indexing="ij"))


def _scene(rng: np.random.Generator, points: np.ndarray) -> list[np.ndarray]:
    """Depth in mm below the surface of body, organ, nodule and distractors (negative outside)."""
    body = _blob(rng, points, np.zeros(3), (30.0, 26.0, 26.0), roughness_mm=1.5)
    centre = rng.uniform(-4.0, 4.0, 3)
    radii = rng.uniform((10.0, 8.0, 9.0), (15.0, 12.0, 13.0))
    organ = _blob(rng, points, centre, radii, roughness_mm=2.2)
    towards = _direction(rng)
    reach = 1.0 / np.linalg.norm(towards / radii)
    nodule_radii = rng.uniform(6.0, 9.0, 3)
    nodule_centre = centre + towards * (reach + 0.35 * nodule_radii.mean())
    nodule = _blob(rng, points, nodule_centre, nodule_radii, roughness_mm=1.0)
    distractors = np.full(points.shape[1:], -np.inf)
    for _ in range(3):
        distractors = np.maximum(distractors, _vessel(rng, points))
    for _ in range(2):
        place = -towards * rng.uniform(15.0, 20.0) + rng.uniform(-6.0, 6.0, 3)
        blob = _blob(rng, points, place, rng.uniform(2.5, 5.0, 3), roughness_mm=0.8)
        distractors = np.maximum(distractors, blob)
    return [body, organ, nodule, distractors]


def _blob(
    rng: np.random.Generator,
    points: np.ndarray,
    centre: np.ndarray,
    radii: Sequence[float] | np.ndarray,
    *,
    roughness_mm: float,
) -> np.ndarray:
    """A turned ellipsoid with a smoothly displaced surface: depth in mm, positive inside."""
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0] * 0.35 + np.eye(3)
    local = np.tensordot(np.linalg.qr(turn)[0], points - centre[:, None, None, None], 1)
    local /= np.asarray(radii, dtype=np.float64)[:, None, None, None]
    depth = (1.0 - np.sqrt((local**2).sum(0))) * float(np.mean(radii))
    return depth + roughness_mm * _waves(rng, points, wavelength_mm=2.2 * float(np.mean(radii)))


def _vessel(rng: np.random.Generator, points: np.ndarray) -> np.ndarray:
    """A winding tube through the body: depth in mm, positive inside."""
    along, start = _direction(rng), rng.uniform(-16.0, 16.0, 3)
    offset = points - start[:, None, None, None]
    position = np.tensordot(along, offset, 1)
    side = np.cross(along, _direction(rng))
    bend = 3.0 * np.sin(position / rng.uniform(5.0, 9.0) + rng.uniform(0, 2 * np.pi))
    axis = along[:, None, None, None] * position + side[:, None, None, None] * bend
    return rng.uniform(1.2, 2.2) - np.sqrt(((offset - axis) ** 2).sum(0))


def _waves(rng: np.random.Generator, points: np.ndarray, *, wavelength_mm: float) -> np.ndarray:
    """A smooth random field of unit variance: a sum of plane waves about the given length."""
    field = np.zeros(points.shape[1:], np.float32)
    count = 8
    for _ in range(count):
        length = wavelength_mm * rng.uniform(0.7, 1.6)
        wave = (_direction(rng) * 2 * np.pi / length).astype(np.float32)
        field += np.cos(np.tensordot(wave, points, 1) + np.float32(rng.uniform(0, 2 * np.pi)))
    return field * np.float32(np.sqrt(2.0 / count))


def _image(
    rng: np.random.Generator, depths: list[np.ndarray], hospital: Hospital, points: np.ndarray
) -> np.ndarray:
    """The scanner: blurred tissue borders, texture, a bias field and Rician noise, float32."""
    air, body, organ, nodule, distractor = hospital.contrast
    signal = np.full(hospital.shape_vox, air)
    layers = ((depths[0], body), (depths[3], distractor), (depths[1], organ), (depths[2], nodule))
    for depth, mean in layers:
        share = 1.0 / (1.0 + np.exp(-np.clip(depth / 0.5, -30.0, 30.0)))
        level = mean * rng.uniform(0.92, 1.08)
        texture = 1.0 + 0.06 * _waves(rng, points, wavelength_mm=6.0)
        signal = signal * (1.0 - share) + level * texture * share
    signal *= np.exp(hospital.bias * _waves(rng, points, wavelength_mm=90.0))
    signal = ndimage.gaussian_filter(signal, 0.4)
    real, imaginary = rng.normal(0.0, hospital.noise, (2, *hospital.shape_vox))
    magnitude = np.sqrt((signal + real) ** 2 + imaginary**2)
    return (magnitude * hospital.scale * rng.uniform(0.85, 1.15)).astype(np.float32)


def _direction(rng: np.random.Generator) -> np.ndarray:
    vector = rng.normal(size=3)
    return vector / np.linalg.norm(vector)


def main(argv: Sequence[str] | None = None) -> int:
    """Make the federation and say where its file is."""
    options = parse(Options, argv, prog="make_phantoms.py", about=str(__doc__).splitlines()[0])

    def work() -> None:
        path = make_federation(
            options.output, seed=options.seed, train=options.train, test=options.test
        )
        print(path)

    return run_command(work)


if __name__ == "__main__":
    raise SystemExit(main())
