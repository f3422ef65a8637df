"""Add a method or a recipe of one's own, for this process.

A package that is installed declares them as entry points instead (see `fednnunet.plugins`), so that
the commands know them, too. A federation file can only name what is installed: it never names code.
"""

from __future__ import annotations

from fednnunet.federation.methods.catalogue import add_method
from fednnunet.federation.methods.settings import Settings
from fednnunet.training.recipe import Recipe, add_recipe


def register_method(settings: type[Settings]) -> None:
    """Make a method known by its settings' `tag`, for `[training.method] name = "..."`.

    `settings` is a frozen dataclass with a class variable `tag`, and `build()` gives the method.
    Raises InputError if another method has the name.
    """
    add_method(settings)


def register_recipe(recipe: Recipe) -> None:
    """Make a recipe known by its name, for `training.recipe = "..."`.

    Raises InputError if another recipe has the name.
    """
    add_recipe(recipe)
