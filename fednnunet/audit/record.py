"""What an audit found, as `audit.json` has it, and the page that a site's staff read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from fednnunet import records
from fednnunet.audit.differencing import Differencing
from fednnunet.audit.membership import Membership
from fednnunet.evaluation.page import write_page

JSON, PAGE = "audit.json", "audit.html"
NOT_DONE = (
    "source inference (which site a case came from)",
    "canaries, and the lower bound of epsilon that they give",
    "membership inference from updates, in place of the model's loss",
)
"""Attacks that an audit does not run."""
_ENOUGH = 0.75  # of the targets


@dataclass(frozen=True, slots=True, kw_only=True)
class Inversion:
    """Inversion of what one kind of round sends, over several targets.

    SSIM and PSNR (dB) are means over the targets, of the reconstruction and of the best baseline:
    noise, another case's patch, or the mean of these. `beaten` counts the targets whose
    reconstruction has a higher SSIM than all of them.
    """

    round: Literal["one iteration", "whole round"]
    defended: bool
    targets: int
    beaten: int
    ssim: float
    psnr: float
    baseline_ssim: float
    baseline_psnr: float

    @property
    def succeeds(self) -> bool:
        """Whether the attack clearly tells more than guessing."""
        return self.beaten >= _ENOUGH * self.targets > 0 and self.ssim > self.baseline_ssim


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """All attacks of one audit; `defences` says in words what was in force."""

    schema: int = 1
    site: str
    defences: str
    inversions: tuple[Inversion, ...] = ()
    membership: dict[str, Membership] = field(default_factory=dict)
    differencing: dict[str, Differencing] = field(default_factory=dict)
    not_done: tuple[str, ...] = NOT_DONE

    @property
    def verdicts(self) -> tuple[str, ...]:
        """For each kind of round, what the defences did: nothing is claimed that was not shown."""
        lines = []
        for bare in (one for one in self.inversions if not one.defended):
            with_it = [o for o in self.inversions if o.defended and o.round == bare.round]
            if not bare.succeeds:
                what = "the attack does not succeed without defences: it says nothing of them"
            elif not with_it:
                what = "the attack succeeds, and there is no defence"
            elif with_it[0].succeeds:
                what = "the attack succeeds with and without the defences"
            else:
                what = "the attack succeeds without the defences, and not with them"
            lines.append(f"inversion, {bare.round}: {what}")
        return tuple(lines)


def write_audit(folder: Path, audit: Audit) -> Path:
    """Write `audit.json` and `audit.html`; returns the page's path."""
    records.write(audit, folder / JSON)
    write_page(folder / PAGE, "audit.html.j2", audit=audit)
    return folder / PAGE
