"""Prepared cases against nnU-Net's rules written out plainly in float64, with slow, known parts."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.ndimage import binary_fill_holes, gaussian_filter
from skimage.transform import resize

from fednnunet import io
from fednnunet.dataset import read_dataset
from fednnunet.dataset_header import task_of
from fednnunet.planning.plan import Intensity
from fednnunet.preprocess.pipeline import prepare_volume
from fednnunet.volume import Geometry, Volume
from tests.training.fakes import small_plan

CT = Intensity(
    mean=45.0,
    median=40.0,
    std=60.0,
    min=-300.0,
    max=900.0,
    percentile_00_5=-120.0,
    percentile_99_5=260.0,
)


def reference(image, label, spacing, target, transpose, scheme, use_mask):
    """(c, z, y, x), (z, y, x) by the rules of nnU-Net v2, one plain step after another."""
    image = image.astype(np.float64).transpose(0, *(a + 1 for a in transpose))
    label, spacing = label.transpose(transpose).astype(int), [spacing[a] for a in transpose]
    mask = binary_fill_holes((image != 0).any(axis=0))
    box = tuple(slice(i.min(), i.max() + 1) for i in np.nonzero(mask))
    image, label, mask = image[(slice(None), *box)].copy(), label[box].copy(), mask[box]
    label[(label == 0) & ~mask] = -1
    for channel in image:
        if scheme == "ct":
            channel[:] = (channel.clip(CT.percentile_00_5, CT.percentile_99_5) - CT.mean) / CT.std
        else:
            inside = mask if use_mask else np.ones_like(mask)
            values = channel[inside]
            channel[inside] = (values - values.mean()) / max(values.std(), 1e-8)
    shape = [round(s / t * n) for s, t, n in zip(spacing, target, mask.shape, strict=True)]
    if list(mask.shape) == shape:
        return image, label
    thick = next((s for s in (spacing, target) if max(s) / min(s) > 3), None)
    if thick is None or sum(s == max(thick) for s in thick) != 1:
        return np.stack([cubic(c, shape) for c in image]), linear(label, shape)
    axis = int(np.argmax(thick))
    plane = [n for i, n in enumerate(shape) if i != axis]
    places = (np.arange(shape[axis]) + 0.5) * mask.shape[axis] / shape[axis] - 0.5
    picks = np.clip(np.floor(places + 0.5).astype(int), 0, mask.shape[axis] - 1)

    def each(array, function):
        return np.stack([function(array.take(i, axis), plane) for i in picks], axis)

    return np.stack([each(c, cubic) for c in image]), each(label, linear)


def cubic(array, shape):
    return resize(array, shape, 3, mode="edge", anti_aliasing=False)


def linear(label, shape):
    values = np.unique(label)
    scores = [
        resize((label == v).astype(float), shape, 1, mode="edge", anti_aliasing=False)
        for v in values
    ]
    near = resize(label.astype(float), shape, 0, mode="edge", anti_aliasing=False)
    scores = [np.round(s, 7) + 1e-6 * (near == v) for s, v in zip(scores, values, strict=True)]
    return values[np.argmax(scores, axis=0)]


def assert_prepared_as_written_out(
    volume, label, target, *, transpose=(0, 1, 2), scheme="zscore", use_mask=False
):
    """Assert that a prepared volume is what the reference gives."""
    plan, configuration = small_plan()
    channels = len(volume.array)
    task = dataclasses.replace(plan.task, channels=tuple(f"c{i}" for i in range(channels)))
    configuration = dataclasses.replace(
        configuration,
        spacing_mm=target,
        normalisation=(scheme,) * channels,
        use_mask=(use_mask,) * channels,
    )
    plan = dataclasses.replace(
        plan,
        task=task,
        transpose=transpose,
        intensity=(CT,) * channels,
        configurations=(configuration,),
    )
    prepared = prepare_volume(volume, plan, configuration, label)
    image, seg = reference(
        volume.array, label, volume.spacing_mm, target, transpose, scheme, use_mask
    )
    assert prepared.data.shape == image.shape
    error = np.mean((prepared.data - image) ** 2)
    assert error == 0 or 10 * np.log10(np.ptp(image) ** 2 / error) > 90
    assert np.mean(prepared.seg == seg) >= 0.999
    assert set(np.unique(prepared.seg)) == set(np.unique(seg))


def phantom(shape, spacing, *, kind, channels=1, seed=0):
    """Two nested structures in a body, with texture; `kind` says what the background is."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.mgrid[tuple(slice(-1, 1, n * 1j) for n in shape)])
    bumps = gaussian_filter(rng.normal(size=shape), 2) * 4
    radius = np.linalg.norm(grid, axis=0) + 0.1 * bumps
    label = (radius < 0.55).astype(np.int16) + (np.linalg.norm(grid - 0.15, axis=0) < 0.25)
    image = 60.0 + 40 * label + rng.normal(0, 15, (channels, *shape))
    if kind == "ct":
        image[:, radius > 0.95] = -1000 + rng.normal(0, 5, int((radius > 0.95).sum()))
        image = np.rint(image)
    if kind == "masked":
        image[:, radius > 0.85] = 0
        image[:, radius < 0.1] = 0
    geometry = Geometry(spacing_mm=spacing)
    return Volume(array=image.astype(np.float32), geometry=geometry), label


@pytest.mark.parametrize(
    ("shape", "spacing", "target", "options"),
    [
        ((30, 40, 36), (1.0, 1.0, 1.0), (1.0, 1.0, 1.0), {}),
        ((30, 40, 36), (1.0, 1.1, 0.9), (1.3, 0.8, 0.9), {"transpose": (2, 0, 1)}),
        ((9, 50, 54), (4.4, 0.5, 0.5), (5.0, 0.6, 0.6), {}),
        ((9, 50, 54), (4.4, 0.5, 0.5), (1.0, 1.0, 1.0), {}),
        ((50, 54, 9), (0.5, 0.5, 4.4), (5.0, 0.45, 0.5), {"transpose": (2, 0, 1)}),
        ((24, 60, 64), (2.5, 0.8, 0.8), (2.0, 0.7, 0.7), {"scheme": "ct", "kind": "ct"}),
        ((24, 30, 28), (1.0, 1.1, 1.2), (1.0, 1.0, 1.0), {"use_mask": True, "kind": "masked"}),
        ((24, 30, 28), (1.0, 1.1, 1.2), (2.0, 1.0, 1.0), {"kind": "masked", "channels": 2}),
    ],
)
def test_phantoms(shape, spacing, target, options):
    made = {"kind": options.pop("kind", "plain"), "channels": options.pop("channels", 1)}
    volume, label = phantom(shape, spacing, **made)
    assert_prepared_as_written_out(volume, label, target, **options)


@pytest.mark.parametrize(
    ("site", "target", "options"),
    [
        ("hippocampus/site_c", (1.0, 1.0, 1.0), {}),
        ("hippocampus/site_d", (1.2, 0.8, 0.9), {}),
        ("spinal_cord_gm/UCL", (2.5, 0.5, 0.5), {}),
        ("spinal_cord_gm/NWU", (5.0, 0.4, 0.4), {"use_mask": True}),
        ("sarcoma_ct/north", (3.0, 1.1, 1.1), {"scheme": "ct"}),
    ],
)
def test_real_volumes(shared_data, site, target, options):
    folder = shared_data / site
    case = read_dataset(folder, task_of(folder)).cases[0]
    label = io.read_label(case.label).array[0]
    assert_prepared_as_written_out(io.read_volume(case.images), label, target, **options)
