"""Settings of differential privacy: the table `[training.privacy]` of the federation file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from fednnunet.errors import InputError
from fednnunet.ranges import Within, check_ranges

Unit = Literal["site", "patient"]
"""Whose influence is bounded: that of all of a site's cases together, or of each patient."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Privacy:
    """Noise on what sites send after local training, and what bounds it is measured by."""

    unit: Unit = "patient"
    """"patient": gradients are clipped for each patient and noised in every iteration (DP-SGD);
    epsilon is for adding or removing a patient. "site": the update of a round is clipped and noised
    once; epsilon is for any change of the site's cases."""
    clip: Annotated[float, Within(1e-9, 1e9)] = 1.0
    """Largest L2 norm of a patient's gradient, or of a site's update."""
    noise: Annotated[float, Within(0, 1e6)] = 1.0
    """Standard deviation of the noise, in units of `clip`. 0 clips only, and gives no epsilon."""
    delta: Annotated[float, Within(1e-15, 0.1)] = 1e-5
    """The probability for which epsilon may not hold; below 1 / patients at every site."""
    patients_per_iteration: Annotated[float, Within(0, 1e6)] = 0.0
    """Expected number of patients in an iteration ("patient"); 0 for the plan's batch. More give
    better gradients for the same noise, and a larger epsilon."""
    patches_per_patient: Annotated[int, Within(1, 1024)] = 1
    """Patches of each of these patients, clipped together ("patient")."""

    def __post_init__(self) -> None:
        check_ranges(self, InputError, mend="correct it in [training.privacy]")
        if self.unit == "site" and (self.patients_per_iteration or self.patches_per_patient > 1):
            raise InputError(
                'patients_per_iteration and patches_per_patient are for unit = "patient"',
                where="training.privacy",
                mend='leave them out, or set unit = "patient"',
            )

    @property
    def words(self) -> str:
        """What is done to what leaves a site, for its ledger."""
        if self.unit == "site":
            return f"update clipped to {self.clip:g} with noise of {self.noise:g} clips"
        return (
            f"gradients clipped to {self.clip:g} a patient with noise of {self.noise:g} clips in "
            "every iteration"
        )
