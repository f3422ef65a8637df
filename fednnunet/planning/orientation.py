"""Orientations of stored volumes, and the one that a plan chooses.

An axis code as nibabel writes it, e.g. "RAS", has one letter for each voxel axis (x, y, z): the
direction in the patient in which its index grows. Arrays have the axes (z, y, x).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

AS_STORED = "as stored"  # a plan's orientation if volumes are not turned
CANONICAL = "RAS"  # cases are measured along its axes; only their order matters
_LETTERS = ("RL", "AP", "SI")  # both directions of the patient's axes


def _codes() -> tuple[str, ...]:
    codes = []
    for order in itertools.permutations(("LR", "PA", "IS")):
        codes += ["".join(letters) for letters in itertools.product(*order)]
    return tuple(sorted(codes))


ORIENTATIONS = _codes()
UNKNOWN_ORIENTATION = len(ORIENTATIONS)  # place of the cases whose orientation is not known


def orientation_place(code: str) -> int:
    """Place of an axis code in the block `orientation`; an empty code is unknown."""
    return ORIENTATIONS.index(code) if code else UNKNOWN_ORIENTATION


def chosen_orientation(counts: Sequence[float]) -> str:
    """The most frequent orientation, of `counts` per place; `AS_STORED` where none is known.

    On ties it is the first in alphabetical order, whatever the order of sites and cases.
    """
    known = list(counts[:UNKNOWN_ORIENTATION])
    return ORIENTATIONS[known.index(max(known))] if max(known) > 0 else AS_STORED


def axes_between(stored: str, wanted: str) -> tuple[tuple[int, int, int], tuple[int, ...]]:
    """How an array (z, y, x) that is stored in one orientation is turned into another.

    The axes in their new order, and which of the new ones are to be flipped. An orientation that is
    unknown ("") or `AS_STORED` turns nothing.
    """
    if not {stored, wanted} <= set(ORIENTATIONS):
        return (0, 1, 2), ()
    places = {_patient_axis(letter): axis for axis, letter in enumerate(stored[::-1])}
    z, y, x = (places[_patient_axis(letter)] for letter in wanted[::-1])
    flips = tuple(
        new
        for new, (axis, letter) in enumerate(zip((z, y, x), wanted[::-1], strict=True))
        if stored[::-1][axis] != letter
    )
    return (z, y, x), flips


def _patient_axis(letter: str) -> int:
    return next(axis for axis, pair in enumerate(_LETTERS) if letter in pair)
