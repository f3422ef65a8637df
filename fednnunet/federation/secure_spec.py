"""Secure aggregation in the federation file: `[training.secure]` and `[planning]`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fednnunet.errors import InputError
from fednnunet.federation.secure.fixed_point import Bits
from fednnunet.federation.secure.protocol import usual_threshold
from fednnunet.ranges import Within, check_ranges


@dataclass(frozen=True, slots=True, kw_only=True)
class SecureAggregation:
    """How the replies of rounds are summed under masks, so that the coordinator sees the sum only.

    See docs/secure_aggregation.md.
    """

    threshold: Annotated[int, Within(0, 4096)] = 0
    """A site takes part only where at least so many sites are in the sum; so many must stay until
    its masks are removed. More than half of the sites of a round; 0 takes more than two thirds."""
    bits: Bits = 64
    """Bits of each masked number. 32 halves the bytes and needs a `clip`."""
    clip: Annotated[float, Within(0, 1e6)] = 0.0
    """Each site scales the change of its weights in a round down to this norm before it is masked;
    0 for no bound. It takes the place of max_update_ratio, which needs single replies."""

    def __post_init__(self) -> None:
        check_ranges(self, InputError, mend="correct it in the table [training.secure]")
        if self.bits == 32 and not self.clip:
            raise InputError(
                "32 bits are too few for changes of any size",
                where="training.secure.bits",
                mend="set training.secure.clip to the largest norm of a change, e.g. 10, or take "
                "bits = 64",
            )

    def threshold_of(self, sites: int) -> int:
        """The threshold in a round of so many sites."""
        return self.threshold or usual_threshold(sites)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planning:
    """How the sites' statistics are merged for the plan."""

    secure: bool = False
    """Sum the statistics under masks, so that the coordinator sees their sum over all sites only.
    The plan is the same, bit for bit. All sites must answer, and no site's part can be checked."""
