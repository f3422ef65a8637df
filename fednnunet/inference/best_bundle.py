"""The best model so far by Dice on held-out cases, kept beside the last one.

A folder holds the model's bundle as `0007/`, by the number of rounds after which it was reached,
and `best.json`. Choosing the best of many rounds by the very cases that judge it flatters the
result a little, so the last model is what is used unless a federation asks for the best.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fednnunet import records

FOLDER = "best"
_FILE = "best.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Best:
    round: int
    dice: float


def offer(folder: Path, number: int, dice: float, write: Callable[[Path], object]) -> None:
    """Keep the model after `number` rounds if no earlier one reached its Dice (NaN: never).

    `write` writes its bundle into the folder that it is given. What was kept of this or a later
    round comes from rounds that are being done again after an interruption, and goes.
    """
    best = _known(folder)
    standing = best is not None and best.round < number and _bundle(folder, best.round).is_dir()
    if math.isnan(dice) or (best is not None and standing and dice <= best.dice):
        return
    write(_bundle(folder, number))
    records.write(_Best(round=number, dice=dice), folder / _FILE)
    for other in folder.glob("[0-9]*"):
        if other != _bundle(folder, number):
            shutil.rmtree(other, ignore_errors=True)


def best_bundle(folder: Path) -> tuple[int, Path] | None:
    """After how many rounds the best model was reached, and its bundle; `None` without any."""
    best = _known(folder)
    return None if best is None else (best.round, _bundle(folder, best.round))


def _known(folder: Path) -> _Best | None:
    return records.read(_Best, folder / _FILE) if (folder / _FILE).is_file() else None


def _bundle(folder: Path, number: int) -> Path:
    return folder / f"{number:04d}"
