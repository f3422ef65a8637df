from __future__ import annotations

import numpy as np
import pytest

from fednnunet.training.patches import (
    PatchSize,
    draw_corner,
    enlarged,
    forced_foreground,
    read_box,
)
from tests.training.fakes import MemoryCase, blobs, small_task


@pytest.mark.parametrize(("batch", "forced"), [(2, 1), (7, 2), (12, 4), (1, 0)])
def test_the_last_third_is_forced(batch, forced):
    flags = forced_foreground(batch, 0.33)
    assert sum(flags) == forced
    assert list(flags) == sorted(flags)


@pytest.mark.parametrize(
    ("patch", "degrees", "read"),
    [  # computed by nnU-Net v2.8.1
        ((40, 56, 40), 30, (73, 80, 64)),
        ((64, 128, 128), 30, (140, 205, 168)),
        ((64, 64), 180, (75, 75)),
        ((40, 80), 15, (69, 94)),
    ],
)
def test_the_patch_read_is_nnunets(patch, degrees, read):
    assert enlarged(patch, degrees) == read


def test_reading_pads_beyond_the_volume():
    case = blobs(1, shape=(6, 5, 7)).case("case0")
    box = read_box(case, (-2, 1, 3), (9, 3, 6))
    assert box.start_vox == (2, 0, 0)
    np.testing.assert_array_equal(box.image, case.data[:, :, 1:4, 3:])
    image, labels = box.padded().image, box.padded().labels
    assert image.shape == (1, 9, 3, 6) and labels.shape == (9, 3, 6)
    np.testing.assert_array_equal(image[:, 2:8, :, :4], case.data[:, :, 1:4, 3:])
    np.testing.assert_array_equal(labels[2:8, :, :4], case.seg[:, 1:4, 3:])
    for outside in (labels[:2], labels[8:], labels[:, :, 4:]):
        assert (outside == -1).all()
    assert not image[:, :2].any() and not image[:, :, :, 4:].any()


def test_a_box_wholly_outside_is_padding():
    box = read_box(blobs(1).case("case0"), (50, 0, 0), (4, 4, 4)).padded()
    assert box.image.shape == (1, 4, 4, 4) and box.labels.shape == (4, 4, 4)
    assert not box.image.any() and (box.labels == -1).all()


def test_a_box_can_be_padded_along_some_axes():
    case = blobs(1, shape=(6, 5, 7)).case("case0")
    box = read_box(case, (-2, -1, 3), (9, 3, 6)).padded((0,))
    assert box.labels.shape == (9, 2, 4) and box.start_vox == (0, 1, 0)
    np.testing.assert_array_equal(box.image[:, 2:8], case.data[:, :, :2, 3:])
    assert (box.labels[:2] == -1).all()
    whole = read_box(case, (-2, -1, 3), (9, 3, 6)).padded()
    np.testing.assert_array_equal(box.padded().labels, whole.labels)


def test_a_forced_patch_shows_foreground_of_every_class():
    case = blobs(1, shape=(30, 30, 30)).case("case0")
    size = PatchSize(final_vox=(5, 5, 5), read_vox=(5, 5, 5))
    seen = set()
    for seed in range(40):
        rng = np.random.default_rng(seed)
        corner = draw_corner(case, size, small_task(), forced=True, rng=rng)
        centre = tuple(c + 2 for c in corner)
        seen.add(int(case.seg[centre]))
    assert seen == {1, 2}


def test_other_patches_reach_outside_by_half_of_what_is_read_beyond():
    case = MemoryCase(np.zeros((1, 20, 20, 20), np.float32), np.zeros((20, 20, 20), np.int16))
    size = PatchSize(final_vox=(8, 8, 8), read_vox=(12, 13, 8))
    rng = np.random.default_rng(0)
    corners = np.array(
        [draw_corner(case, size, small_task(), forced=False, rng=rng) for _ in range(600)]
    )
    np.testing.assert_array_equal(corners.min(0), [-2, -3, 0])
    np.testing.assert_array_equal(corners.max(0), [20 + 2 - 12, 20 + 3 - 13, 12])


def test_with_an_ignore_label_patches_are_centred_on_what_is_annotated():
    seg = np.full((20, 20, 20), 3, np.int16)
    seg[4:6, 10:12, 15:17] = 0
    case = MemoryCase(np.zeros((1, 20, 20, 20), np.float32), seg, ignore=3)
    size = PatchSize(final_vox=(4, 4, 4), read_vox=(4, 4, 4))
    for forced in (False, True):  # nothing to force: no foreground is annotated
        for seed in range(10):
            rng = np.random.default_rng(seed)
            corner = draw_corner(case, size, small_task(ignore=3), forced=forced, rng=rng)
            assert seg[tuple(c + 2 for c in corner)] == 0


def test_patches_of_marks_are_centred_on_one_without_an_ignore_label_too():
    class Marked(MemoryCase):
        @property
        def locations(self):
            return {-1: np.argwhere(self.seg != -2)}

    seg = np.full((20, 20, 20), -2, np.int16)
    seg[4:6, 10:12, 15:17] = 0
    case = Marked(np.zeros((1, 20, 20, 20), np.float32), seg)
    size = PatchSize(final_vox=(4, 4, 4), read_vox=(4, 4, 4))
    for seed in range(10):
        rng = np.random.default_rng(seed)
        corner = draw_corner(case, size, small_task(), forced=False, rng=rng)
        assert seg[tuple(c + 2 for c in corner)] == 0


def test_regions_are_drawn_as_wholes():
    case = blobs(1, shape=(30, 30, 30)).case("case0")
    task = small_task(regions={"core": (2,)})
    size = PatchSize(final_vox=(5, 5, 5), read_vox=(5, 5, 5))
    for seed in range(10):
        corner = draw_corner(case, size, task, forced=True, rng=np.random.default_rng(seed))
        assert case.seg[tuple(c + 2 for c in corner)] == 2
