"""Amplitude exchange against numpy's whole transform, and its exact ends."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fednnunet.errors import InputError
from fednnunet.training.amplitude import (
    Exchange,
    amplitude_shape,
    exchange,
    low_amplitude,
    mean_amplitude,
)
from fednnunet.training.augment import seeded

WAVES = 2
PATCHES = [(2, 8, 9, 10), (1, 7, 6), (1, 1, 8, 8), (1, 4, 8, 3)]


def a_patch(shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def inside_cube(shape):
    """Where numpy's full spectrum has the cube; a wave that an axis cannot hold whole is out."""
    inside = np.ones(shape, bool)
    for axis, edge in enumerate(shape[1:], start=1):
        number = np.abs(np.fft.fftfreq(edge) * edge).round().astype(int)
        along = [1] * len(shape)
        along[axis] = edge
        inside &= (number <= min(WAVES, (edge - 1) // 2)).reshape(along)
    return inside


def spectrum(image):
    return np.fft.fftn(image.double().numpy(), axes=range(1, image.ndim))


@pytest.mark.parametrize("shape", PATCHES)
def test_share_zero_is_the_identity_to_the_last_bit(shape):
    image = a_patch(shape)
    assert torch.equal(exchange(image, low_amplitude(a_patch(shape, 1), WAVES), 0.0), image)


@pytest.mark.parametrize("share", [0.25, 1.0])
@pytest.mark.parametrize("shape", PATCHES)
def test_the_cube_gets_the_asked_amplitude_and_nothing_else_changes(shape, share):
    image, lender = a_patch(shape), a_patch(shape, 1)
    changed = exchange(image, low_amplitude(lender, WAVES), share)
    before, after, lent = spectrum(image), spectrum(changed), spectrum(lender)
    perturbed = (1 - share) * np.abs(before) + share * np.abs(lent)
    wanted = np.where(inside_cube(shape), perturbed, np.abs(before))
    np.testing.assert_allclose(np.abs(after), wanted, atol=2e-5)
    turn = after * np.conj(before)
    np.testing.assert_allclose(turn.imag, 0, atol=2e-3)
    assert (turn.real > 0).all()


def test_the_order_of_wave_numbers_is_as_stated():
    """A wave twice along z and once backwards along y stands at (2, -1, 0)."""
    z, y = np.meshgrid(np.arange(8), np.arange(6), indexing="ij")
    wave = np.cos(2 * np.pi * (2 * z / 8 - y / 6))[:, :, None] * np.ones(5)
    found = low_amplitude(torch.from_numpy(wave.astype(np.float32))[None], WAVES)
    assert found.shape == (1, 5, 5, 3)
    places = {tuple(place) for place in (found > 1).nonzero().tolist()}
    assert places == {(0, 2, 4, 0), (0, 3, 1, 0)}
    assert found.max() == pytest.approx(8 * 6 * 5 / 2)


def test_the_own_amplitude_changes_nothing_but_rounding():
    image = a_patch((1, 8, 8, 8))
    torch.testing.assert_close(exchange(image, low_amplitude(image, WAVES), 1.0), image)


def test_the_lowest_frequency_alone_moves_the_mean():
    image = a_patch((1, 4, 4, 4)).abs()
    brighter = exchange(image, torch.full((1, 1, 1, 1), 64 * 5.0), 1.0)
    torch.testing.assert_close(brighter, image + (5 - image.mean()))


def test_an_empty_patch_takes_the_amplitude_with_phase_zero():
    lent = exchange(torch.zeros(1, 4, 4), torch.full((1, 1, 1), 16.0), 0.5)
    torch.testing.assert_close(lent, torch.full((1, 4, 4), 0.5))


@pytest.mark.parametrize("shape", [(1, 3, 2), (2, 3, 3, 2), (1, 3, 2, 2), (1, 5, 3, 2)])
def test_an_amplitude_of_another_plan_is_refused(shape):
    with pytest.raises(InputError, match="does not fit"):
        exchange(a_patch((1, 8, 8, 8)), torch.ones(shape), 0.5)


def test_every_case_counts_the_same_in_the_mean():
    many, one = a_patch((3, 2, 8, 8)), a_patch((1, 2, 8, 8), 1)
    mean = mean_amplitude([many, one], WAVES)
    assert mean.shape == amplitude_shape(2, 2, WAVES)
    of_many = torch.stack([low_amplitude(image, WAVES) for image in many]).mean(0)
    torch.testing.assert_close(mean, (of_many + low_amplitude(one[0], WAVES)) / 2)
    with pytest.raises(InputError, match="no case"):
        mean_amplitude([], WAVES)


def test_a_step_draws_from_the_seed_it_is_given():
    image = a_patch((1, 8, 8))
    step = Exchange(amplitudes=(torch.ones(1, 3, 2), torch.zeros(1, 3, 2)), chance=0.5)

    def draw(seed):
        with seeded(seed):
            return step(image=image, segmentation="kept")

    assert all(draw(seed)["segmentation"] == "kept" for seed in range(3))
    drawn = [draw(seed)["image"] for seed in range(40)]
    assert all(torch.equal(a, draw(seed)["image"]) for seed, a in enumerate(drawn))
    unchanged = sum(torch.equal(a, image) for a in drawn)
    assert 10 < unchanged < 30
    assert torch.equal(Exchange(amplitudes=step.amplitudes, chance=0)(image=image)["image"], image)


def test_a_step_needs_an_amplitude():
    with pytest.raises(InputError, match="0 amplitudes"):
        Exchange(amplitudes=())
