"""Predict with a model that fednnunet_export wrote: numpy and onnxruntime, nibabel for the files.

python predict_onnx.py MODEL.onnx MASK.nii.gz CHANNEL_0.nii.gz [CHANNEL_1.nii.gz ...]
"""

import itertools
import json
import sys

import nibabel
import numpy as np
import onnxruntime
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform


def cubic(d):
    """The cubic B-spline at a distance."""
    return np.where(d < 1, 2 / 3 - d**2 + d**3 / 2, np.maximum(2 - d, 0) ** 3 / 6)


def spline(old, new, order):
    """The matrix (new, old) that resamples an axis with repeated edges: nearest, linear, cubic."""
    at = (np.arange(new) + 0.5) * old / new - 0.5
    if order == 0:
        return np.eye(old)[np.clip(np.floor(at + 0.5).astype(int), 0, old - 1)]
    if order == 1:
        return np.maximum(1 - abs(np.clip(at, 0, old - 1)[:, None] - np.arange(old)), 0)
    knots = np.arange(-12, old + 12)
    basis, known = (cubic(abs(x[:, None] - knots)) for x in (at, knots))
    return basis @ np.linalg.solve(known, np.eye(old)[np.clip(knots, 0, old - 1)])


def resample(array, shape, spacings, order, rules):
    """An array (z, y, x) on another grid; a thick axis last, by an order of its own."""
    uneven = [s for s in spacings if max(s) / min(s) > rules["anisotropy"]][:1]
    thick = [a for s in uneven for a in range(3) if s[a] == max(s)]
    thick = thick if len(thick) == 1 else []
    low, high = (f(array, tuple({0, 1, 2} - set(thick)), keepdims=True) for f in (np.min, np.max))
    for axis in sorted(range(3), key=lambda axis: axis in thick):
        own = rules["thick_axis_order"] if axis in thick else order
        if axis in thick and order > 1:
            array = np.clip(array, low, high)
        if array.shape[axis] != shape[axis]:
            matrix = spline(array.shape[axis], shape[axis], own)
            array = np.moveaxis(np.tensordot(matrix, array, (1, axis)), 0, axis)
    return np.clip(array, low, high) if order > 1 and not thick else array


def normalise(array, kind, known):
    """One channel with its intensities on the scale of the training."""
    if kind == "ct":
        clipped = np.clip(array, known["percentile_00_5"], known["percentile_99_5"])
        return (clipped - known["mean"]) / max(known["std"], 1e-8)
    if kind == "zscore":
        return (array - array.mean(dtype=float)) / max(array.std(dtype=float), 1e-8)
    if kind == "rescale_to_0_1":
        return (array - array.min()) / max(np.ptp(array), 1e-8)
    return array / 255 if kind == "rgb_to_0_1" else array


def tiles(session, data, patch):
    """Logits (k, z, y, x): tiles that overlap by half, weighted by a Gaussian."""
    patch, flat = [1] * (3 - len(patch)) + patch, 3 - len(patch)
    inner = data.shape[1:]
    before = [max(p - n, 0) // 2 for p, n in zip(patch, inner, strict=False)]
    data = np.pad(
        data,
        [(0, 0), *((b, max(p - n, 0) - b) for b, p, n in zip(before, patch, inner, strict=False))],
    )
    falls = [np.exp(-0.5 * ((np.arange(p) - p // 2) * 8 / p) ** 2) for p in patch]
    weight = np.einsum("z,y,x->zyx", *falls).astype(np.float32)
    counts = [
        -(-2 * (n - p) // p) + 1 if p > 1 else n
        for n, p in zip(data.shape[1:], patch, strict=False)
    ]
    starts = [
        [round((n - p) / max(c - 1, 1) * i) for i in range(c)]
        for n, p, c in zip(data.shape[1:], patch, counts, strict=False)
    ]
    total, weights = 0, np.zeros(data.shape[1:], np.float32)
    for corner in itertools.product(*starts):
        box = tuple(slice(c, c + p) for c, p in zip(corner, patch, strict=False))
        tile = data[(slice(None), *box)].reshape(1, len(data), *patch[flat:])
        (logits,) = session.run(None, {"image": np.ascontiguousarray(tile)})
        if corner == (0, 0, 0):
            total = np.zeros((logits.shape[1], *data.shape[1:]), np.float32)
        total[(slice(None), *box)] += logits[0].reshape(-1, *patch) * weight
        weights[box] += weight
    return (total / weights)[
        (slice(None), *(slice(b, b + n) for b, n in zip(before, inner, strict=False)))
    ]


def main(model, output, *images):
    """Write the mask of one case."""
    session = onnxruntime.InferenceSession(model)
    rules = json.loads(session.get_modelmeta().custom_metadata_map["fednnunet"])
    if any(rules["use_mask"]):
        sys.exit("this model normalises inside a mask, which needs more than numpy")
    files = [nibabel.load(image) for image in images]
    stored = io_orientation(files[0].affine)
    wanted = rules["orientation"]
    turn = ornt_transform(stored, stored if wanted == "as stored" else axcodes2ornt(wanted))
    turned = [file.as_reoriented(turn) for file in files]
    axes = rules["transpose"]
    volume = np.stack(
        [t.get_fdata(dtype=np.float32).transpose(2, 1, 0).transpose(axes) for t in turned]
    )
    spacing = [float(turned[0].header.get_zooms()[2 - axis]) for axis in axes]
    target = (spacing[:1] + rules["spacing_mm"])[-3:]
    found = np.nonzero((volume != 0).any(0))
    box = tuple(slice(n.min(), n.max() + 1) for n in found) if len(found[0]) else (slice(None),) * 3
    full, cropped = volume.shape[1:], volume[(slice(None), *box)]
    shape = [
        max(round(s / t * n), 1)
        for s, t, n in zip(spacing, target, cropped.shape[1:], strict=False)
    ]
    orders = rules["resampling"]
    ready = [
        normalise(*each)
        for each in zip(cropped, rules["normalisation"], rules["intensity"], strict=False)
    ]
    data = [resample(c, shape, (spacing, target), orders["image_order"], orders) for c in ready]
    logits = tiles(session, np.stack(data).astype(np.float32), rules["patch_vox"])
    native = np.stack(
        [
            resample(c, cropped.shape[1:], (target, spacing), orders["logits_order"], orders)
            for c in logits
        ]
    )
    mask = np.zeros(full, np.uint8 if len(rules["labels"]) <= 256 else np.uint16)
    if rules["region_values"]:
        for value, inside in zip(rules["region_values"], native > 0, strict=False):
            mask[box][inside] = value
    else:
        mask[box] = native.argmax(0)
    mask = mask.transpose(np.argsort(axes)).transpose(2, 1, 0)
    result = nibabel.Nifti1Image(mask, turned[0].affine)
    back = ornt_transform(io_orientation(turned[0].affine), stored)
    nibabel.save(result.as_reoriented(back), output)


if __name__ == "__main__":
    main(*sys.argv[1:])
