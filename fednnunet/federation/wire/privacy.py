"""What a site states of the privacy that it has spent: epsilon, or why there is no figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from fednnunet.errors import ReplyError
from fednnunet.ranges import AtMost, Within, check_ranges

Gap = Literal["no_noise", "patients_not_stated", "model_leaves"]

GAPS: Mapping[Gap, str] = {
    "no_noise": "there is no noise",
    "patients_not_stated": "it is not known which cases are of one patient (sites.NAME.patient)",
    "model_leaves": "the site's own model may leave, which this does not cover (routed)",
}
"""Why an epsilon cannot be stated, in words."""
NO_PROTECTION = 10.0
"""Above this epsilon nothing is promised that is worth the name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Of a training of a site: `epsilon` at `delta` after so many `rounds` that left the site.

    `total` is that of all of its trainings together, and of a noisy fingerprint. Both are None
    where a figure would not hold, and `gaps` says why. With `unit` "patient" it is for adding or
    removing one of the training patients, with "site" for any change of the training cases.
    """

    unit: Literal["site", "patient"]
    epsilon: Annotated[float | None, Within(0, 1e12)]
    total: Annotated[float | None, Within(0, 1e12)]
    delta: Annotated[float, Within(0, 1)]
    rounds: Annotated[int, Within(0, 10**6)]
    gaps: Annotated[tuple[Gap, ...], AtMost(len(GAPS))] = ()

    def __post_init__(self) -> None:
        check_ranges(self, ReplyError, mend="give coordinator and sites the same version")

    @property
    def words(self) -> str:
        """In one line, for ledger, report and card."""
        if self.epsilon is None:
            return f"no epsilon: {'; '.join(GAPS[gap] for gap in self.gaps)}"
        whose = "patient" if self.unit == "patient" else "change of the site's training cases"
        line = f"epsilon {self.epsilon:.3g} a {whose} at delta {self.delta:g}, {self.rounds} rounds"
        if self.total is not None and self.total > self.epsilon:
            line += f" ({self.total:.3g} with all that has left the site)"
        return line if self.epsilon <= NO_PROTECTION else f"{line}: no formal protection"
