"""Epsilon against closed forms and published figures."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from fednnunet.errors import InputError
from fednnunet.federation.privacy import accountant
from fednnunet.federation.privacy.accountant import Mechanism, epsilon

pytest.importorskip("dp_accounting", reason="the extra dp is not installed")


def exact_gaussian(noise: float, delta: float) -> float:
    """Epsilon of one Gaussian mechanism (Balle and Wang, ICML 2018, theorem 8)."""

    def gap(eps: float) -> float:
        a, b = 0.5 / noise - eps * noise, -0.5 / noise - eps * noise
        return norm.cdf(a) - math.exp(eps) * norm.cdf(b) - delta

    return float(brentq(gap, 0, 500))


@pytest.mark.parametrize("noise", [0.5, 1.0, 4.0, 20.0])
@pytest.mark.parametrize("steps", [1, 16])
def test_gaussian_noise_is_bounded_a_little_above_the_exact_value(noise, steps):
    """So many releases with noise z are one with z / sqrt(n)."""
    exact = exact_gaussian(noise / math.sqrt(steps), 1e-5)
    found = epsilon([Mechanism(noise=noise, steps=steps)], 1e-5)
    assert exact <= found <= 1.12 * exact + 0.01


def test_it_is_the_best_order_of_renyi_divergence():
    """alpha / (2 z^2) is Gaussian noise's; the conversion is of Canonne, Kamath, Steinke 2020."""
    noise, delta = 2.0, 1e-5
    alpha = np.linspace(1.01, 100, 100_000)
    convert = np.log1p(-1 / alpha) - np.log(delta * alpha) / (alpha - 1)
    best = (alpha / (2 * noise**2) + convert).min()
    assert epsilon([Mechanism(noise=noise)], delta) == pytest.approx(best, rel=0.01)
    assert epsilon([Mechanism(noise=noise)], delta) >= best - 1e-9


def test_sampled_steps_against_abadi_2016():
    """q 0.01, noise 4, 10,000 steps: 1.26 by their moments accountant, which bounds less well."""
    found = epsilon([Mechanism(noise=4.0, rate=0.01, steps=10_000)], 1e-5)
    assert 0.7 < found < 1.26


def test_one_sampled_step_is_between_its_bounds():
    """Sampling amplifies: log(1 + q (e^eps - 1)) at q delta is a bound for small epsilon."""
    rate, noise, delta = 0.1, 4.0, 1e-6
    whole = epsilon([Mechanism(noise=noise)], delta)
    found = epsilon([Mechanism(noise=noise, rate=rate)], delta)
    assert found < whole
    assert found >= math.log(1 + rate * (math.exp(exact_gaussian(noise, delta / rate)) - 1)) * 0.99


def test_releases_are_composed_and_none_costs_nothing():
    one = Mechanism(noise=3.0, rate=0.2, steps=10)
    assert epsilon([], 1e-5) == 0
    assert epsilon([one, one], 1e-5) == epsilon([Mechanism(noise=3.0, rate=0.2, steps=20)], 1e-5)
    assert epsilon([one, Mechanism(noise=3.0)], 1e-5) > epsilon([Mechanism(noise=3.0)], 1e-5)
    assert epsilon([Mechanism(noise=1.0, rate=0.0)], 1e-5) == 0


def test_without_noise_it_is_infinite():
    assert epsilon([Mechanism(noise=0.0), Mechanism(noise=1.0)], 1e-5) == math.inf


@pytest.mark.parametrize("changes", [{"noise": -1.0}, {"rate": 1.1}, {"steps": 0}])
def test_a_mechanism_that_cannot_be_is_refused(changes):
    with pytest.raises(InputError):
        Mechanism(**{"noise": 1.0, **changes})


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "dp_accounting", None)
    with pytest.raises(InputError, match="dp_accounting is not installed") as found:
        accountant.check_installed()
    assert "fednnunet[dp]" in found.value.mend
