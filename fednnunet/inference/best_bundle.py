"""The best model so far by Dice on held-out cases, in addition to the last one.

The folder contains the bundle, named by its number of rounds (`0007/`), and `best.json`. If the
best round is selected on the same cases that it is evaluated on, the result is slightly too good;
the last model is therefore used unless a federation asks for the best.
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
    """Keep the model after `number` rounds if its Dice is the best so far (not if it is NaN).

    `write` writes its bundle into the given folder. A bundle of this or a later round is replaced:
    it comes from rounds that are repeated after an interruption.
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
    """The number of rounds of the best model, and its bundle; `None` if there is none."""
    best = _known(folder)
    return None if best is None else (best.round, _bundle(folder, best.round))


def _known(folder: Path) -> _Best | None:
    return records.read(_Best, folder / _FILE) if (folder / _FILE).is_file() else None


def _bundle(folder: Path, number: int) -> Path:
    return folder / f"{number:04d}"
