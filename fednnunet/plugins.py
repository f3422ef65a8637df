"""Methods and recipes of other packages, which they declare as entry points.

A package declares them in its pyproject.toml:

    [project.entry-points."fednnunet.methods"]
    mine = "my_package.my_method:MyMethod"
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from typing import Any

from fednnunet.errors import FedNNUNetError

METHODS, RECIPES = "fednnunet.methods", "fednnunet.recipes"


def declared(group: str) -> Iterator[tuple[str, Any]]:
    """Name and value of each entry point of a group, sorted by name.

    One that cannot be imported is left out with a warning: a broken package must not stop work
    that does not need it.
    """
    for point in sorted(entry_points(group=group), key=lambda point: point.name):
        try:
            value = point.load()
        except Exception as error:  # noqa: BLE001  whatever the other package raises
            warnings.warn(
                f"{point.value} ({group}) cannot be used: {type(error).__name__}: {error}",
                RuntimeWarning,
                stacklevel=2,
            )
            continue
        yield point.name, value


def add_declared(group: str, word: str, add: Callable[[Any], None]) -> None:
    """Call `add` with what is declared in a group; what it refuses gives a warning with `word`."""
    for name, value in declared(group):
        try:
            add(value)
        except FedNNUNetError as error:
            warnings.warn(
                f"the {word} {name} cannot be used: {error}", RuntimeWarning, stacklevel=2
            )
