"""What a federation segments: its channels and labels, the same at every site."""

from __future__ import annotations

from dataclasses import dataclass, field

from fednnunet.errors import InputError

MOST_CHANNELS, MOST_LABELS = 64, 1024
_LONGEST_NAME = 256  # characters of the name of a task, a channel, a label or a region
_LARGEST_VALUE = 2**15 - 1  # of a label: label maps are read as int16


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Channels and labels of a segmentation task.

    `labels[v]` names the label of value `v` in a label map; `labels[0]` is the background.
    `regions` maps a name to the label values it unites. With regions the targets may overlap and
    the network ends in one sigmoid per region (BraTS: whole tumour, core, enhancing); without, in
    one softmax over the labels. Voxels of value `ignore` enter no loss term and no score.
    """

    name: str
    channels: tuple[str, ...]
    labels: tuple[str, ...]
    regions: dict[str, tuple[int, ...]] = field(default_factory=dict)
    ignore: int | None = None

    def __post_init__(self) -> None:
        if not self.channels:
            raise InputError("a task needs at least one channel", mend='e.g. channels = ["MRI"]')
        if len(self.labels) < 2:
            raise InputError(
                f"a task needs a background and at least one more label, not {list(self.labels)}",
                mend='e.g. labels = ["background", "tumour"]',
            )
        self._check_sizes()
        for names, word in ((self.channels, "channel"), (self.labels, "label")):
            if len(set(names)) != len(names):
                raise InputError(
                    f"a {word} name stands twice in {list(names)}", mend="name each once"
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
            (self.channels, MOST_CHANNELS, "channels"),
            (self.labels, MOST_LABELS, "labels"),
            (self.regions, MOST_LABELS, "regions"),
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
        """Names of what is scored: the regions, or else every label but the background."""
        return tuple(self.regions) if self.regions else self.labels[1:]

    @property
    def heads(self) -> int:
        """Number of output channels of the network."""
        return len(self.regions) if self.regions else len(self.labels)
