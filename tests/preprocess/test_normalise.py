import numpy as np
import pytest

from fednnunet.errors import DataError
from fednnunet.planning.plan import Intensity
from fednnunet.preprocess.normalise import mean_std, normalise

ANY = Intensity(
    mean=10.0, median=9.0, std=4.0, min=0, max=50, percentile_00_5=2.0, percentile_99_5=30.0
)


@pytest.fixture
def channel():
    return np.random.default_rng(0).normal(1e4, 3, (20, 30, 40)).astype(np.float32)


def test_mean_and_deviation_are_those_of_float64(channel):
    wide = channel.astype(np.float64)
    assert mean_std(channel) == pytest.approx((wide.mean(), wide.std()), rel=1e-9)
    assert mean_std(channel[:0]) == (0.0, 0.0)


def test_zscore_in_the_mask_leaves_the_rest(channel):
    inside = np.zeros(channel.shape, bool)
    inside[5:15, 5:15] = True
    channel[~inside] = 0
    normalise(channel, "zscore", ANY, inside)
    assert not channel[~inside].any()
    assert channel[inside].mean() == pytest.approx(0, abs=1e-3)
    assert channel[inside].std() == pytest.approx(1, abs=1e-3)


def test_a_flat_image_becomes_zero():
    flat = np.full((3, 4, 5), 7, np.float32)
    normalise(flat, "zscore", ANY, None)
    assert not flat.any()


def test_ct_is_clipped_to_the_federations_percentiles():
    values = np.array([[[-5.0, 10.0, 14.0, 100.0]]], np.float32)
    normalise(values, "ct", ANY, None)
    assert values.ravel().tolist() == [-2.0, 0.0, 1.0, 5.0]


def test_ranges():
    values = np.array([[[50.0, 100.0, 250.0]]], np.float32)
    rescaled, rgb, same = values.copy(), values.copy(), values.copy()
    normalise(rescaled, "rescale_to_0_1", ANY, None)
    normalise(rgb, "rgb_to_0_1", ANY, None)
    normalise(same, "none", ANY, None)
    assert rescaled.ravel().tolist() == [0.0, 0.25, 1.0]
    assert rgb.ravel() == pytest.approx(values.ravel() / 255)
    assert np.array_equal(same, values)
    with pytest.raises(DataError, match="RGB"):
        normalise(values * 2, "rgb_to_0_1", ANY, None)
