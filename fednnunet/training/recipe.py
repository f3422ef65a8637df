"""How to train: every hyperparameter in one frozen value, and the table of named recipes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from fednnunet.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """Probability of each change of a training patch; ranges are nnU-Net's.

    `rotation`, `scaling`, `noise`, `brightness`, `contrast`, `gamma_inverted` and `gamma` are per
    patch, `blur` and `low_resolution` per patch and then one half per channel, `mirror` per axis.
    """

    rotation: float = 0.2
    scaling: float = 0.2
    noise: float = 0.1
    blur: float = 0.2
    brightness: float = 0.15
    contrast: float = 0.15
    low_resolution: float = 0.25
    gamma_inverted: float = 0.1
    gamma: float = 0.3
    mirror: bool = True

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise InputError(f"the probability of {name} is {value}", mend="give 0 to 1")

    @property
    def moves(self) -> bool:
        """Whether patches are rotated or scaled, so that more than a patch must be read."""
        return self.rotation > 0 or self.scaling > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Optimiser, rate, loss, sampling and augmentation of one way to train.

    The rate is a function of the share of the *federation's* iterations that are done, so neither
    rounds nor a restart reset it. `foreground` is the share of a batch whose patches are centred on
    foreground. `clip` bounds the gradient's norm (0: no bound).
    """

    name: str
    optimiser: Literal["sgd", "adamw"]
    learning_rate: float
    schedule: Literal["polynomial", "one_cycle"]
    weight_decay: float
    momentum: float = 0.99
    clip: float = 12.0
    power: float = 0.9
    learning_rate_steps: int = 1000
    warm_up: float = 0.0
    deep_supervision: bool = True
    foreground: float = 0.33
    dice_weight: float = 1.0
    cross_entropy_weight: float = 1.0
    augmentation: Augmentation = Augmentation()

    def __post_init__(self) -> None:
        if self.learning_rate <= 0 or self.learning_rate_steps < 1:
            raise InputError(
                f"recipe {self.name} has learning rate {self.learning_rate}",
                mend="give a learning rate above 0",
            )
        for name in ("momentum", "warm_up", "foreground"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(
                    f"{name} of recipe {self.name} is not from 0 to 1",
                    mend=f"give a {name} from 0 to 1",
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
    """The recipe of that name; raises InputError naming those there are."""
    if name not in RECIPES:
        raise InputError(f"there is no recipe {name!r}", mend=f"choose one of: {list(RECIPES)}")
    return RECIPES[name]


def learning_rate_at(recipe: Recipe, step: int, total: int) -> float:
    """Learning rate of iteration `step` (from 0) of `total` in the whole federation.

    "polynomial" is nnU-Net's: rate * (1 - t) ** power, constant over each of `rate_steps` parts.
    "one_cycle" (Smith and Topin 2019) rises along a cosine from 1/25 of the rate during `warm_up`
    and falls along a cosine to nearly nothing.
    """
    share = min(max(step / max(total, 1), 0.0), 1.0)
    if recipe.schedule == "polynomial":
        part = math.floor(share * recipe.learning_rate_steps + 1e-9) / recipe.learning_rate_steps
        return float(recipe.learning_rate * (1 - part) ** recipe.power)
    low, end = recipe.learning_rate / 25, recipe.learning_rate / 1000
    if share < recipe.warm_up:
        return _cosine(low, recipe.learning_rate, share / recipe.warm_up)
    return _cosine(
        recipe.learning_rate, end, (share - recipe.warm_up) / max(1 - recipe.warm_up, 1e-9)
    )


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
