"""The settings of a method: one frozen dataclass a method, and which tensors it shares.

A method is chosen in the federation file by its name, or by a table of its name and settings:

    [training.method]
    name = "fedprox"
    mu = 0.1
    private = ["norm", "head"]

The fields of the method's dataclass are the only place of their defaults, and the text under each
field is its help.
"""

from __future__ import annotations

import dataclasses
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from fednnunet.errors import InputError
from fednnunet.network.roles import is_norm, role

if TYPE_CHECKING:
    from fednnunet.federation.methods.method import Method

Part = Literal["norm", "head", "decoder", "encoder"]
"""A part of the network: normalisation layers (affine parameters and running statistics, wherever
they are), segmentation heads, and the decoder and encoder with their normalisation layers."""

Private = tuple[Part, ...]
PARTS: Private = ("norm", "head", "decoder", "encoder")


class Settings(Protocol):
    """The settings of a method, from which both of its halves are built."""

    tag: ClassVar[str]

    def build(self) -> Method:
        """The method with these settings; raises InputError where one is out of range."""
        ...


@dataclass(frozen=True, slots=True)
class AllBut:
    """Says by a tensor's name whether it is shared: all are but those of the `private` parts.

    Raises InputError where a part is named twice or does not exist, or where nothing is shared.
    """

    private: Private = ()

    def __post_init__(self) -> None:
        if set(self.private) - set(PARTS) or len(set(self.private)) < len(self.private):
            raise InputError(
                f"private is {list(self.private)}",
                mend=f"name each part once, any of {', '.join(PARTS)}",
            )
        if {"head", "decoder", "encoder"} <= set(self.private):
            raise InputError(
                f"with private = {list(self.private)} nothing is shared",
                mend='share a part of the network, or choose method = "local"',
            )

    def __call__(self, name: str) -> bool:
        """Whether the tensor `name` is shared."""
        return role(name) not in self.private and not ("norm" in self.private and is_norm(name))


def summary(settings: Settings) -> str:
    """What the method does, in one line: the first of its docstring, and what stays private."""
    first = inspect.cleandoc(type(settings).__doc__ or "").splitlines()[0]
    private = getattr(settings, "private", ())
    return f"{first} Private: {', '.join(private)}." if private else first


def canonical(settings: Settings) -> str:
    """The method's name and its settings that are not the defaults, the same for equal methods.

    For example `fedprox_mu=0.1_private=norm+head`. Usable as a folder's name.
    """
    words = [type(settings).tag]
    for field in dataclasses.fields(settings):  # type: ignore[arg-type]
        value = getattr(settings, field.name)
        if _text(value) != _text(field.default):
            words.append(f"{field.name}={_text(value)}")
    return "_".join(words)


def _text(value: object) -> str:
    if isinstance(value, tuple):  # the order of private parts does not matter
        return "+".join(part for part in PARTS if part in value) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)
