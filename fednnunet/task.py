"""What a federation segments: its channels and labels, the same at every site."""

from __future__ import annotations

from dataclasses import dataclass, field

from fednnunet.errors import InputError

MAX_CHANNELS, MAX_LABELS = 64, 1024
_LONGEST_NAME = 256  # characters of the name of a task, a channel, a label or a region
_LARGEST_VALUE = 2**15 - 1  # of a label: label maps are read as int16


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Channels and labels of a segmentation task."""

    name: str
    """Name of the task; for information only."""
    channels: tuple[str, ...]
    """Image channels, in the order of the files `_0000`, `_0001`, ... The name decides the
    normalisation: CT, noNorm, rescale_to_0_1 or rgb_to_0_1; any other name means z-score."""
    labels: tuple[str, ...]
    """Name of each label value, from 0 on; the first is the background."""
    regions: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Targets that combine several label values and may overlap (BraTS: whole tumour, core,
    enhancing). With regions the network has one sigmoid output per region, otherwise a softmax
    over the labels."""
    ignore: int | None = None
    """Label value of voxels that are left out of loss and scores; larger than all labels."""

    def __post_init__(self) -> None:
        if not self.channels:
            raise InputError(
                "a task needs at least one channel", mend='list its channels: channels = ["MRI"]'
            )
        if len(self.labels) < 2:
            raise InputError(
                f"a task needs a background and at least one more label, not {list(self.labels)}",
                mend='list its labels: labels = ["background", "tumour"]',
            )
        self._check_sizes()
        for names, kind in ((self.channels, "channel"), (self.labels, "label")):
            if len(set(names)) != len(names):
                raise InputError(
                    f"a {kind} name occurs twice in {list(names)}",
                    mend=f"give each {kind} a name of its own",
                )
        for name, values in self.regions.items():
            unknown = [value for value in values if not 0 < value < len(self.labels)]
            if unknown or not values:
                raise InputError(
                    f"region {name!r} names the label values {list(values)}",
                    mend=f"use values from 1 to {len(self.labels) - 1}",
                )
        if self.ignore is not None and not len(self.labels) <= self.ignore <= _LARGEST_VALUE:
            raise InputError(
                f"the ignore value {self.ignore} is also a label, or too large",
                mend=f"use a value from {len(self.labels)} to {_LARGEST_VALUE}",
            )

    def _check_sizes(self) -> None:
        """Raise InputError for more channels, labels or letters than any task has."""
        for names, most, word in (
            (self.channels, MAX_CHANNELS, "channels"),
            (self.labels, MAX_LABELS, "labels"),
            (self.regions, MAX_LABELS, "regions"),
        ):
            if len(names) > most:
                raise InputError(f"a task has {len(names)} {word}", mend=f"at most {most}")
        longest = max(map(len, (self.name, *self.channels, *self.labels, *self.regions)))
        if longest > _LONGEST_NAME:
            raise InputError(
                f"a name of the task has {longest} characters", mend=f"at most {_LONGEST_NAME}"
            )

    @property
    def values(self) -> tuple[int, ...]:
        """Every value that a label map of this task may hold."""
        extra = () if self.ignore is None else (self.ignore,)
        return (*range(len(self.labels)), *extra)

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the targets that are scored: the regions, or all labels but the background."""
        return tuple(self.regions) if self.regions else self.labels[1:]

    @property
    def heads(self) -> int:
        """Number of output channels of the network."""
        return len(self.regions) if self.regions else len(self.labels)
