"""The table `[card]` of the federation file: what model cards say beyond what was measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CardSpec:
    """What the federation says of its models."""

    licence: str = ""
    """The licence under which the models may be used."""
    intended_use: str = ""
    """What the models are meant for, in a sentence or two."""
    name_sites: bool = False
    """Whether model cards name the sites that trained; otherwise they give their number. Every site
    agrees to it with this file."""
