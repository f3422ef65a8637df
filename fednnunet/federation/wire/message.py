"""What all messages have in common, and the ranges of the numbers in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from torch import Tensor

from fednnunet.errors import ReplyError
from fednnunet.evaluation.scores import MAX_CASES
from fednnunet.ranges import AtMost, Within, check_ranges

MAX_ROUNDS = 10**6
MAX_ITERATIONS = 10**9  # of all rounds together

SAME_VERSION = "give coordinator and sites the same version of the program"

Name = Annotated[str, AtMost(1000)]
Round = Annotated[int, Within(0, MAX_ROUNDS)]
Iterations = Annotated[int, Within(0, MAX_ITERATIONS)]
Cases = Annotated[int, Within(0, MAX_CASES)]
VoxelCounts = Annotated[tuple[tuple[int, int, int], ...], AtMost(4096), Within(0, 2**53)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """Base of all messages. `tensors` maps names to values; most messages have none."""

    words: ClassVar[str] = ""
    tensors: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_ranges(self, ReplyError, mend=SAME_VERSION)
