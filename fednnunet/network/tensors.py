"""The type of a network's tensors, by name."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

Tensors = Mapping[str, Tensor]
"""Tensors by name: of a network (as in its `state_dict`), of a message or of a method."""
