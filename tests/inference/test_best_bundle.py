from __future__ import annotations

import math

from fednnunet.inference.best_bundle import best_bundle, offer


def offered(folder, dice, *, first=1):
    """Offer a model after each round; returns the rounds whose bundles were written."""
    written = []

    def write(place):
        place.mkdir(parents=True, exist_ok=True)
        written.append(int(place.name))

    for number, value in enumerate(dice, start=first):
        offer(folder, number, value, write)
    return written


def test_the_highest_is_kept_and_the_others_are_removed(tmp_path):
    assert offered(tmp_path, [0.2, 0.5, 0.4, 0.6, 0.6]) == [1, 2, 4]
    assert best_bundle(tmp_path) == (4, tmp_path / "0004")
    assert [path.name for path in tmp_path.glob("0*")] == ["0004"]


def test_without_any_dice_nothing_is_kept(tmp_path):
    assert offered(tmp_path, [math.nan, math.nan]) == []
    assert best_bundle(tmp_path) is None


def test_rounds_done_again_are_judged_again(tmp_path):
    offered(tmp_path, [0.2, 0.5, 0.9])
    assert offered(tmp_path, [0.4, 0.3, 0.6], first=3) == [3, 5]
    number, bundle = best_bundle(tmp_path)
    assert number == 5 and bundle.is_dir()
