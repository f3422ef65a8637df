"""What happened in each round: the coordinator's checkpoints, and `history.csv` made from them.

`rounds/0007.safetensors` holds the state after seven rounds, `rounds/0007.json` what the sites
reported. The JSON is written last, so a round exists when its JSON does.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from fednnunet import records
from fednnunet.errors import InputError
from fednnunet.evaluation.contribution import RoundContribution
from fednnunet.evaluation.scores import MAX_CASES, SiteScores
from fednnunet.federation.methods.merge import State
from fednnunet.federation.wire.message import MAX_ROUNDS
from fednnunet.federation.wire.phases import Phase
from fednnunet.federation.wire.privacy import Spent
from fednnunet.files import replacing, write_text
from fednnunet.ranges import AtMost, Within, check_ranges
from fednnunet.text import cell

_MEMORY = "memory/"
_SHARED = "shared/"
_EXTRAS = "extras/"
_FOR_SITE = "for_site/"
_DOWN = "down/"
_KEPT_STATES = 2
_MEND = "restore the file from a copy, or train in another run folder"
_FIGURES = ("seconds", "wait_share", "bytes_to_site", "bytes_from_site")

Dice = Annotated[tuple[float | None, ...], AtMost(4096), Within(0, 1)]
Bytes = Annotated[int, Within(0, 2**53)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteRound:
    """One site in one round.

    `dice` is on augmented training patches, `held_out` on the same few patches of held-out cases in
    every round: one value a target, none where nothing was to be found. `loss` is None where the
    site does not state it, since it is over too few cases. `notes` are for the log. `unlabelled`
    counts the training cases without any label. `update_norm` is the norm of what the site changed
    of the tensors that it trained with the others, `extras_norm` that of a method's auxiliary
    tensors, 0 where there are none. `spent` is what the site states of its privacy.

    Raises InputError for a figure out of range.
    """

    cases: Annotated[int, Within(0, MAX_CASES)]
    loss: Annotated[float | None, Within(-1e6, 1e6)]
    dice: Dice
    seconds: Annotated[float, Within(0, 1e9)]
    wait_share: Annotated[float, Within(0, 1)]
    bytes_to_site: Bytes
    bytes_from_site: Bytes
    unlabelled: Annotated[int, Within(0, MAX_CASES)] = 0
    held_out: Dice = ()
    notes: Annotated[tuple[str, ...], AtMost(64)] = ()
    update_norm: Annotated[float, Within(0, 1e300)] = 0.0
    extras_norm: Annotated[float, Within(0, 1e300)] = 0.0
    spent: Spent | None = None

    def __post_init__(self) -> None:
        check_ranges(self, InputError, mend=_MEND)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundRecord:
    """One round. `shift` is the norm of the change of the shared tensors.

    `refused` names each site that gave no acceptable reply in time, and why; `faults` each site
    that took part but could not be scored or probed afterwards, or that sent more than one answer,
    of which the first counts. `key` identifies the training,
    so that rounds of another plan or method are never continued. `scores` are sums over held-out
    cases, in the rounds after which these are predicted whole; `contribution` is of joint rounds,
    where it is asked for. The round took `seconds` at the coordinator, and is one `of` so
    many in all phases.
    """

    key: str
    round: Annotated[int, Within(0, MAX_ROUNDS)]
    phase: Phase
    shift: Annotated[float, Within(0, 1e300)]
    sites: dict[str, SiteRound]
    refused: dict[str, str]
    scores: dict[str, SiteScores] = field(default_factory=dict)
    contribution: dict[str, RoundContribution] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    seconds: Annotated[float, Within(0, 1e9)] = 0.0
    of: Annotated[int, Within(0, MAX_ROUNDS)] = 0

    def __post_init__(self) -> None:
        check_ranges(self, InputError, mend=_MEND)


def save_round(folder: Path, state: State, record: RoundRecord) -> None:
    """Write one checkpoint; of older ones only the last keeps its tensors."""
    shared = {_SHARED + name: tensor.contiguous() for name, tensor in state.shared.items()}
    extras = {_EXTRAS + name: tensor.contiguous() for name, tensor in state.extras.items()}
    for_site = {  # several sites may be sent one and the same tensor
        f"{_FOR_SITE}{site}/{name}": tensor.contiguous().clone()
        for site, tensors in state.for_site.items()
        for name, tensor in tensors.items()
    }
    memory = {_MEMORY + name: tensor.contiguous() for name, tensor in state.memory.items()}
    down = {_DOWN + name: tensor.contiguous().clone() for name, tensor in state.down.items()}
    with replacing(_tensors(folder, state.round)) as temporary:
        save_file(shared | extras | memory | for_site | down, temporary)
    records.write(record, _record(folder, state.round))
    _tensors(folder, state.round - _KEPT_STATES).unlink(missing_ok=True)


def check_key(folder: Path, *, key: str) -> None:
    """Raise InputError if the folder holds rounds of another training than `key` names."""
    if any(record.key != key for record in load_records(folder)):
        raise InputError(
            "the folder holds rounds of another training (another plan, method or seed)",
            where=str(folder),
            mend="train in another run folder, or delete this one's rounds",
        )


def load_last(folder: Path, *, key: str) -> tuple[State | None, tuple[RoundRecord, ...]]:
    """The last whole checkpoint, or None, and the records of all rounds up to it."""
    check_key(folder, key=key)
    found = load_records(folder)
    while found:
        number = found[-1].round
        try:
            tensors = load_file(_tensors(folder, number))
        except (OSError, SafetensorError):
            found = found[:-1]
            continue
        return _split(number, tensors), found
    return None, ()


def rounds_of(found: Sequence[RoundRecord], site: str, *, public: bool = False) -> int:
    """After how many rounds a site was last accepted; 0 if never.

    The public phase is counted by itself, since a site begins it anew.
    """
    own = (r.round for r in found if site in r.sites and (r.phase == "public") == public)
    return max(own, default=0)


def load_records(folder: Path) -> tuple[RoundRecord, ...]:
    """The records of all rounds in a folder, in order."""
    return tuple(records.read(RoundRecord, path) for path in sorted(folder.glob("[0-9]*.json")))


def write_history(found: tuple[RoundRecord, ...], targets: tuple[str, ...], path: Path) -> None:
    """Write `history.csv`: one row a round and site.

    `dice_` is on augmented training patches, `held_out_dice_` on patches of held-out cases, and
    `case_dice_` the mean over whole held-out cases.
    """
    out = io.StringIO()
    kinds = [f"{kind}dice_{target}" for kind in ("", "held_out_", "case_") for target in targets]
    columns = ("round", "phase", "site", "cases", "loss", *kinds, *_FIGURES, "refused")
    writer = csv.DictWriter(out, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for record in found:
        head = {"round": record.round, "phase": record.phase}
        for site, row in record.sites.items():
            writer.writerow({**head, "site": site, **_row(row, record.scores.get(site), targets)})
        for site, reason in record.refused.items():
            writer.writerow({**head, "site": site, "refused": cell(reason)})
    write_text(path, out.getvalue())


def _row(row: SiteRound, scores: SiteScores | None, targets: tuple[str, ...]) -> dict[str, object]:
    whole = [scores.targets[target].dice.mean for target in targets] if scores else []
    values: dict[str, Sequence[float | None]] = {
        "dice_": row.dice,
        "held_out_dice_": row.held_out,
        "case_dice_": whole,
    }
    dice = {
        kind + target: "" if value is None or math.isnan(value) else f"{value:.4f}"
        for kind, column in values.items()
        for target, value in zip(targets, column, strict=False)
    }
    figures = {name: round(getattr(row, name), 4) for name in _FIGURES}
    loss = "" if row.loss is None else f"{row.loss:.5f}"
    return {"cases": row.cases, "loss": loss, **dice, **figures}


def _split(number: int, tensors: Mapping[str, Tensor]) -> State:
    def part(prefix: str) -> dict[str, Tensor]:
        return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}

    for_site: dict[str, dict[str, Tensor]] = {}
    for name, tensor in part(_FOR_SITE).items():
        site, _, own = name.partition("/")
        for_site.setdefault(site, {})[own] = tensor
    return State(
        round=number,
        shared=part(_SHARED),
        extras=part(_EXTRAS),
        memory=part(_MEMORY),
        for_site=for_site,
        down=part(_DOWN),
    )


def _tensors(folder: Path, number: int) -> Path:
    return folder / f"{number:04d}.safetensors"


def _record(folder: Path, number: int) -> Path:
    return folder / f"{number:04d}.json"
