"""How to train: every hyperparameter in one frozen value, and the table of named recipes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from fednnunet import plugins
from fednnunet.errors import InputError
from fednnunet.text import choices
from fednnunet.training.imbalance import ClassBalance


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """Probability of each random augmentation of a training patch; their ranges are nnU-Net's."""

    rotation: float = 0.2
    """Rotation, per patch."""

    scaling: float = 0.2
    """Zoom in or out, per patch."""

    noise: float = 0.1
    """Gaussian noise, per patch."""

    blur: float = 0.2
    """Gaussian blur, per patch, and then one half per channel."""

    brightness: float = 0.15
    """Multiplied brightness, per patch."""

    contrast: float = 0.15
    """Contrast about the mean, per patch."""

    low_resolution: float = 0.25
    """Simulated low resolution, per patch, and then one half per channel."""

    gamma_inverted: float = 0.1
    """Gamma of the inverted intensities, per patch."""

    gamma: float = 0.3
    """Gamma of the intensities, per patch."""

    mirror: bool = True
    """Whether each axis is mirrored in one half of all patches."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise InputError(f"the probability of {name} is {value}", mend="give 0 to 1")

    @property
    def spatial(self) -> bool:
        """Whether patches are rotated or scaled, for which more than a patch must be read."""
        return self.rotation > 0 or self.scaling > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Optimiser, learning rate, loss, sampling and augmentation of one way to train.

    The learning rate is a function of the fraction of the *federation's* iterations that are done,
    so that neither a new round nor a restart resets it.
    """

    name: str
    """By which `training.recipe` chooses it."""

    optimiser: Literal["sgd", "adamw"]
    """SGD with Nesterov momentum, or AdamW."""

    learning_rate: float
    """The highest learning rate of the schedule."""

    schedule: Literal["polynomial", "one_cycle"]
    """How the learning rate changes; see `learning_rate_at`."""

    weight_decay: float
    """Weight decay of the optimiser."""

    momentum: float = 0.99
    """Momentum of SGD, the first beta of AdamW."""

    clip: float = 12.0
    """Bound on the gradient's norm (0: none)."""

    power: float = 0.9
    """Exponent of the "polynomial" schedule."""

    learning_rate_steps: int = 1000
    """Number of constant steps of the "polynomial" schedule: nnU-Net's epochs."""

    warm_up: float = 0.0
    """Fraction of the "one_cycle" schedule in which the learning rate rises."""

    deep_supervision: bool = True
    """Whether all decoder levels but the lowest have a loss, or only the finest."""

    foreground: float = 0.33
    """Fraction of a batch whose patches are centred on foreground."""

    dice_weight: float = 1.0
    """Weight of soft Dice in the loss."""

    cross_entropy_weight: float = 1.0
    """Weight of cross-entropy in the loss."""

    augmentation: Augmentation = Augmentation()
    """Random augmentations of training patches."""

    balance: ClassBalance = field(default_factory=ClassBalance)
    """What is done for rare classes (default: nothing); `[training.imbalance]` sets it by the
    plan's counts."""

    def __post_init__(self) -> None:
        if self.learning_rate <= 0 or self.learning_rate_steps < 1:
            raise InputError(
                f"recipe {self.name} has learning_rate {self.learning_rate} and "
                f"learning_rate_steps {self.learning_rate_steps}",
                mend="give a learning rate above 0, and at least 1 step",
            )
        for name in ("momentum", "warm_up", "foreground"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise InputError(
                    f"{name} of recipe {self.name} is {value}", mend="give a value from 0 to 1"
                )


RECIPES: dict[str, Recipe] = {
    "nnunet": Recipe(
        name="nnunet", optimiser="sgd", learning_rate=0.01, schedule="polynomial", weight_decay=3e-5
    ),
    "fast": Recipe(
        name="fast",
        optimiser="adamw",
        learning_rate=3e-3,
        schedule="one_cycle",
        weight_decay=1e-2,
        momentum=0.9,
        clip=1.0,
        warm_up=0.1,
        deep_supervision=False,
        augmentation=Augmentation(
            noise=0.0, blur=0.0, low_resolution=0.0, gamma_inverted=0.0, gamma=0.15, mirror=False
        ),
    ),
}


def recipe_named(name: str) -> Recipe:
    """The recipe of that name; raises InputError naming those there are.

    For a name that is not ours, installed packages are asked.
    """
    if name not in RECIPES:
        plugins.add_declared(plugins.RECIPES, "recipe", add_recipe)
    if name not in RECIPES:
        raise InputError(f"there is no recipe {name!r}", mend=choices(name, RECIPES))
    return RECIPES[name]


def learning_rate_at(recipe: Recipe, step: int, total: int) -> float:
    """Learning rate of iteration `step` (from 0) of `total` in the whole federation.

    With t from 0 to 1 over the federation, "polynomial" is nnU-Net's learning_rate *
    (1 - t) ** power, constant over each of `learning_rate_steps` parts. "one_cycle" (Smith and
    Topin 2019) rises along a cosine from 1/25 of `learning_rate` to all of it during `warm_up`, and
    falls along a cosine to 1/1000.
    """
    done = min(max(step / max(total, 1), 0.0), 1.0)
    if recipe.schedule == "polynomial":
        part = math.floor(done * recipe.learning_rate_steps + 1e-9) / recipe.learning_rate_steps
        return float(recipe.learning_rate * (1 - part) ** recipe.power)
    low, end = recipe.learning_rate / 25, recipe.learning_rate / 1000
    if done < recipe.warm_up:
        return _cosine(low, recipe.learning_rate, done / recipe.warm_up)
    return _cosine(
        recipe.learning_rate, end, (done - recipe.warm_up) / max(1 - recipe.warm_up, 1e-9)
    )


def _cosine(start: float, end: float, fraction: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * fraction)) / 2


def add_recipe(recipe: Recipe) -> None:
    """Make a recipe of another package known by its name.

    Raises InputError if it is no recipe, or if another one has the name.
    """
    if not isinstance(recipe, Recipe):
        raise InputError(f"{recipe!r} is no recipe", mend="give a fednnunet Recipe")
    if RECIPES.setdefault(recipe.name, recipe) != recipe:
        raise InputError(
            f"there is a recipe {recipe.name!r} already", mend="give the new recipe another name"
        )
