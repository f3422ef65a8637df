from __future__ import annotations

import random
from copy import copy

import numpy as np
import pytest
import torch

from fednnunet.supervision import UNKNOWN
from fednnunet.training.augment import make_augmenter, plain_augmenter, seeded
from fednnunet.training.patches import Box, read_box
from fednnunet.training.recipe import Augmentation
from tests.training.fakes import blobs

ALL = Augmentation(
    rotation=1, scaling=1, noise=1, blur=1, brightness=1, contrast=1, low_resolution=1,
    gamma_inverted=1, gamma=1,
)  # fmt: skip
NONE = Augmentation(
    rotation=0, scaling=0, noise=0, blur=0, brightness=0, contrast=0, low_resolution=0,
    gamma_inverted=0, gamma=0, mirror=False,
)  # fmt: skip


def patch(augmenter, channels=1, seed=0):
    rng = np.random.default_rng(seed)
    size = augmenter.size.read_vox
    image = rng.normal(size=(channels, *size)).astype(np.float32)
    labels = np.full(size, -1, np.int16)
    inner = tuple(slice(n // 4, n - n // 4) for n in size[-2:])
    labels[(slice(None), *inner)] = rng.integers(0, 3, labels[(slice(None), *inner)].shape)
    return image, labels


def reader(image, labels):
    """Reads from arrays of the largest box."""

    def read(corner, size):
        box = tuple(slice(c, c + n) for c, n in zip(corner, size, strict=True))
        return Box(image[(slice(None), *box)], labels[box], (0, 0, 0), size)

    return read


@pytest.mark.parametrize("vox", [(8, 12, 10), (4, 16, 16), (12, 10), (8, 20)])
def test_the_same_seed_gives_the_same_patch_of_the_final_size(vox):
    augmenter = make_augmenter(vox, (True, False), ALL)
    a = augmenter(reader(*patch(augmenter, 2)), 5)
    b = augmenter(reader(*patch(augmenter, 2)), 5)
    c = augmenter(reader(*patch(augmenter, 2)), 6)
    assert a[0].shape == (2, *vox) and a[1].shape == vox
    assert a[0].dtype == torch.float32 and a[1].dtype == torch.int16
    assert torch.equal(a[0], b[0]) and torch.equal(a[1], b[1])
    assert not torch.equal(a[0], c[0])
    assert set(a[1].unique().tolist()) <= {-1, 0, 1, 2}
    assert torch.isfinite(a[0]).all()


def test_where_a_channel_is_masked_the_outside_stays_zero():
    augmenter = make_augmenter((8, 8, 8), (True, False), ALL)
    image, labels = augmenter(reader(*patch(augmenter, 2)), 1)
    outside = labels < 0
    assert outside.any()
    assert not image[0][outside].any() and image[1][outside].any()


def test_global_generators_are_left_alone():
    augmenter = make_augmenter((8, 8, 8), (False,), ALL)
    read = reader(*patch(augmenter))
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    augmenter(read, 3)
    assert random.getstate() == before[0]
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])
    assert torch.equal(torch.get_rng_state(), before[2])


def test_generators_come_back_after_an_error():
    before = np.random.get_state()[1].copy()
    with pytest.raises(ZeroDivisionError), seeded(1):
        raise ZeroDivisionError
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_without_turning_only_the_patch_is_read():
    assert make_augmenter((8, 8, 8), (False,), NONE).size.read_vox == (8, 8, 8)
    assert make_augmenter((8, 8, 8), (False,), ALL).size.read_vox > (8, 8, 8)
    flat = make_augmenter((4, 16, 16), (False,), ALL).size
    assert flat.read_vox[0] == 4 and flat.read_vox[1] > 16


@pytest.mark.parametrize("vox", [(6, 7, 8), (6, 7)])
def test_nothing_changes_where_nothing_may(vox):
    for augmenter in (make_augmenter(vox, (False,), NONE), plain_augmenter(vox)):
        image, labels = patch(augmenter)
        got = augmenter(reader(image, labels), 1)
        np.testing.assert_array_equal(got[0].numpy().reshape(image.shape), image)
        np.testing.assert_array_equal(got[1].numpy().reshape(labels.shape), labels)


def test_image_and_labels_move_together():
    only = Augmentation(
        rotation=1, scaling=1, noise=0, blur=0, brightness=0, contrast=0, low_resolution=0,
        gamma_inverted=0, gamma=0,
    )  # fmt: skip
    augmenter = make_augmenter((16, 16, 16), (False,), only)
    size = augmenter.size.read_vox
    labels = np.zeros(size, np.int16)
    labels[size[0] // 2 :, : size[1] // 2] = 1
    for seed in range(5):
        image, perturbed = augmenter(reader(labels[None].astype(np.float32), labels), seed)
        agree = ((image[0] > 0.5) == (perturbed == 1)).float().mean()
        assert agree > 0.97


@pytest.mark.parametrize("vox", [(8, 12, 10), (4, 16, 16), (12, 10)])
@pytest.mark.parametrize("seed", range(4))
def test_turns_are_those_of_batchgeneratorsv2(vox, seed):
    """The transform that is only asked for its draw here, applied by itself."""
    only = Augmentation(
        rotation=1, scaling=1, noise=0, blur=0, brightness=0, contrast=0, low_resolution=0,
        gamma_inverted=0, gamma=0, mirror=False,
    )  # fmt: skip
    augmenter = make_augmenter(vox, (False,), only)
    image, labels = patch(augmenter)
    got = augmenter(reader(image, labels), seed)
    planar = len(vox) == 2 or augmenter.spatial.flat
    whole = copy(augmenter.spatial.transform)
    whole.patch_size = vox[-2:] if planar else vox
    whole.border_mode_seg, whole.padding_value_seg = "constant", -1
    pictures = torch.from_numpy(image[0] if planar else image)
    masks = torch.from_numpy(labels if planar else labels[None])
    with seeded(seed):
        want = whole(image=pictures, segmentation=masks)
    torch.testing.assert_close(
        got[0].reshape(want["image"].shape), want["image"], atol=1e-4, rtol=0
    )
    assert (
        got[1].reshape(want["segmentation"].shape) == want["segmentation"]
    ).float().mean() > 0.99


@pytest.mark.parametrize("vox", [(8, 12, 10), (4, 16, 16), (12, 10)])
@pytest.mark.parametrize("seed", range(3))
def test_a_patch_beyond_the_volume_is_turned_as_if_padded(vox, seed):
    augmenter = make_augmenter(vox, (False,), ALL)
    case = blobs(1, shape=(9, 14, 13)).case("case0")
    corner = [0 if len(vox) == 2 else -2, 3, -4]

    def inside(inset, size):
        return read_box(case, [c + i for c, i in zip(corner, inset, strict=True)], size)

    got = augmenter(inside, seed)
    want = augmenter(lambda inset, size: inside(inset, size).padded(), seed)
    torch.testing.assert_close(got[0], want[0], atol=1e-4, rtol=0)
    assert (got[1] == want[1]).float().mean() > 0.99
    assert (got[1] >= 0).any()


def test_most_patches_are_read_without_a_margin():
    augmenter = make_augmenter((8, 8, 8), (False,), Augmentation())
    image, labels = patch(augmenter)
    sizes = []

    def read(corner, size):
        sizes.append(size)
        return reader(image, labels)(corner, size)

    for seed in range(60):
        augmenter(read, seed)
    share = sizes.count(augmenter.size.final_vox) / len(sizes)
    assert 0.5 < share < 0.8  # neither rotated (0.8) nor scaled (0.8)


@pytest.mark.parametrize("vox", [(8, 12, 10), (12, 10)])
def test_an_upright_patch_has_its_boxes_sides_along_the_axes(vox):
    turning = Augmentation(
        rotation=1, scaling=1, noise=0, blur=0, brightness=0, contrast=0, low_resolution=0,
        gamma_inverted=0, gamma=0, mirror=False,
    )  # fmt: skip
    augmenter = make_augmenter(vox, (False,), turning)
    image, labels = patch(augmenter)
    plain = plain_augmenter(vox)
    inset, final = augmenter.size.inset_vox, augmenter.size.final_vox
    middle = tuple(slice(i, i + n) for i, n in zip(inset, final, strict=True))
    want = plain(reader(image[(slice(None), *middle)], labels[middle]), 1)
    got = augmenter(reader(image, labels), 1, upright=True)
    assert torch.equal(got[0], want[0]) and torch.equal(got[1], want[1])
    assert not torch.equal(augmenter(reader(image, labels), 1)[1], want[1])


def test_an_upright_patch_is_else_as_of_the_same_seed():
    """Where the seed does not turn the patch, nothing is different."""
    augmenter = make_augmenter((8, 8, 8), (False,), Augmentation())
    image, labels = patch(augmenter)
    same = 0
    for seed in range(20):
        with seeded(seed):
            stays = augmenter.spatial.draw() is None
        free = augmenter(reader(image, labels), seed)
        upright = augmenter(reader(image, labels), seed, upright=True)
        if stays:
            same += 1
            assert torch.equal(free[0], upright[0]) and torch.equal(free[1], upright[1])
    assert same


def test_the_image_stays_where_only_its_label_is_unknown():
    augmenter = make_augmenter((8, 8, 8), (True,), NONE)
    image, labels = patch(augmenter)
    labels[labels > 0] = UNKNOWN
    got = augmenter(reader(image, labels), 1)
    unknown = torch.from_numpy(labels == UNKNOWN)
    assert unknown.any() and torch.equal(got[0][0][unknown], torch.from_numpy(image[0])[unknown])
    assert not got[0][0][got[1] == -1].any()
