"""Batches of patches, each a function of the seed and the iteration alone.

No random generator is carried along: sample `position` of iteration `step` has its own, so that a
restart, the number of worker processes and the number of GPUs cannot change the patches.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from multiprocessing.reduction import ForkingPickler
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from fednnunet.errors import FedNNUNetError, InputError, WorkerError, raise_all, single_faults
from fednnunet.supervision import SiteSupervision, Supervision
from fednnunet.task import Task
from fednnunet.training.augment import Augmenter, Step
from fednnunet.training.case_choice import ClassTable, choose_case
from fednnunet.training.copy_paste import cut_lesion, paste
from fednnunet.training.imbalance import ClassBalance
from fednnunet.training.patches import (
    Box,
    PatchCase,
    PatchStore,
    draw_corner,
    forced_foreground,
    read_box,
)

_MAX_SOURCES = 16  # that a worker holds: the sites of a federation in one process

# How torch says that a worker died; an exception of a living one begins with "Caught".
_DEATH = re.compile(r"DataLoader worker .*(exited unexpectedly|killed by signal)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Batch:
    """`image` float32 (b, c, z, y, x), `labels` int16 (b, z, y, x) with -1 outside; no z in 2D.

    `supervision` says of each sample what its case's labels teach (default: fully annotated).
    `weak` is the image in the same geometry without the augmentations of intensity, where a second
    view was asked for. `pseudo` holds pseudo-labels like `labels`, UNKNOWN where there are none,
    once for each of `pseudo_weights`, by which their losses count.
    """

    image: Tensor
    labels: Tensor
    supervision: tuple[Supervision, ...] = ()
    weak: Tensor | None = None
    pseudo: tuple[Tensor, ...] = ()
    pseudo_weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.supervision:
            object.__setattr__(self, "supervision", (Supervision(),) * len(self.image))

    def __len__(self) -> int:
        return len(self.image)

    def part(self, start: int, stop: int) -> Batch:
        """Samples from `start` to before `stop`."""
        part = self._each(lambda tensor: tensor[start:stop])
        return replace(part, supervision=self.supervision[start:stop])

    def samples(self) -> Iterator[Batch]:
        """Each sample as a batch of one."""
        return (self.part(row, row + 1) for row in range(len(self)))

    def by_supervision(self) -> tuple[tuple[Supervision, tuple[int, ...]], ...]:
        """Each supervision in the batch with the rows of its samples; see `take`."""
        rows: dict[Supervision, tuple[int, ...]] = {}
        for row, supervision in enumerate(self.supervision):
            rows[supervision] = (*rows.get(supervision, ()), row)
        return tuple(rows.items())

    def to(self, device: torch.device) -> Batch:
        """The batch on a device; from pinned memory the copy does not wait."""
        wait = not self.image.is_pinned() if device.type == "cuda" else True
        return self._each(lambda tensor: tensor.to(device, non_blocking=not wait))

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory."""
        return self._each(Tensor.pin_memory)

    def without_pseudo(self) -> Batch:
        """The batch with its labels alone."""
        return replace(self, pseudo=(), pseudo_weights=())

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """The batch with every tensor changed."""
        return replace(
            self,
            image=change(self.image),
            labels=change(self.labels),
            weak=None if self.weak is None else change(self.weak),
            pseudo=tuple(map(change, self.pseudo)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondView:
    """Asks for `Batch.weak`, for samples of whose supervision `wanted` holds.

    The steps `strong` are applied to the other view of these samples, after all augmentations.
    Both are sent to the processes that make batches, so they must be importable.
    """

    wanted: Callable[[Supervision], bool]
    strong: tuple[Step, ...] = ()


def take(tensor: Tensor, rows: Sequence[int]) -> Tensor:
    """Samples `rows` of a tensor (b, ...); the tensor itself, not a copy, where these are all."""
    return tensor if len(rows) == len(tensor) else torch.stack([tensor[row] for row in rows])


class Source(Protocol):
    """Makes the batch of any iteration, which may differ in size; it is sent to processes."""

    def __getitem__(self, step: int) -> Batch:
        """The batch of an iteration."""
        ...

    def cases(self, step: int, /) -> frozenset[str]:
        """The names of the cases that it is of."""
        ...


@dataclass(slots=True, kw_only=True)
class BatchSource:
    """Makes the batch of any iteration: `source[step]`.

    `names` are the store's cases to sample from, `foreground` is the fraction of a batch whose
    patches are centred on foreground, and `supervision` says what each case's labels teach. Cases
    are sampled in proportion to their `weights`, 1 for those that are not named; `balance` says
    what is done for rare classes. `shard`
    = (rank, ranks) picks every `ranks`-th sample of a batch, for training on several GPUs.
    """

    store: PatchStore
    names: Sequence[str]
    task: Task
    augmenter: Augmenter
    size: int
    foreground: float
    seed: int
    shard: tuple[int, int] = (0, 1)
    supervision: SiteSupervision = field(default_factory=SiteSupervision)
    second_view: SecondView | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    balance: ClassBalance = field(default_factory=ClassBalance)
    _table: ClassTable = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.names:
            raise InputError("there is no case to train on", mend="give the site training cases")
        if self.weights and not any(self.weights.get(name, 1.0) > 0 for name in self.names):
            raise InputError(
                "the weights of all training cases are 0", mend="give a case a weight above 0"
            )
        self._table = ClassTable(
            store=self.store,
            names=self.names,
            weights=self.weights,
            supervision=self.supervision,
        )

    def __getitem__(self, step: int) -> Batch:
        rank, ranks = self.shard
        samples = [self._sample(step, position) for position in range(rank, self.size, ranks)]
        images, labels, supervision, weak = zip(*samples, strict=True)
        batch = Batch(torch.stack(images), torch.stack(labels), supervision)
        if all(view is None for view in weak):
            return batch
        views = [i if view is None else view for i, view in zip(images, weak, strict=True)]
        return replace(batch, weak=torch.stack(views))

    def cases(self, step: int) -> frozenset[str]:
        """The names of the cases in the whole batch of an iteration, whatever the shard."""
        return frozenset(self._choose(step, position)[0] for position in range(self.size))

    def _choose(self, step: int, position: int) -> tuple[str, tuple[int, ...], np.random.Generator]:
        """The case of a sample, the class that it was chosen for, and the sample's generator.

        Without balanced classes it is chosen for none.
        """
        rng = np.random.default_rng([self.seed, step, position])
        if self.balance.balanced_classes and self._forced(position):
            found = self._table.of_a_class(self.task, rng)
            if found is not None:
                return *found, rng
        return choose_case(self.names, self.weights, rng), (), rng

    def _forced(self, position: int) -> bool:
        return forced_foreground(self.size, self.foreground)[position]

    def _sample(
        self, step: int, position: int
    ) -> tuple[Tensor, Tensor, Supervision, Tensor | None]:
        name, group, rng = self._choose(step, position)
        case = self.store.case(name)
        forced = self._forced(position)
        size = self.augmenter.size
        corner = draw_corner(case, size, self.task, forced=forced, rng=rng, group=group)
        if self.balance.copied:
            case = self._with_lesion(name, case, corner, rng)

        def read(inset: Sequence[int], edges: Sequence[int]) -> Box:
            return read_box(case, [c + i for c, i in zip(corner, inset, strict=True)], edges)

        seed, supervision = int(rng.integers(2**63)), self.supervision.of(name)
        upright = supervision.kind == "box"  # what boxes teach asks for sides along the axes
        view = self.second_view
        if view is None or not view.wanted(supervision):
            image, labels = self.augmenter(read, seed, upright=upright)
            return image, labels, supervision, None
        image, labels, weak = self.augmenter.views(read, seed, view.strong, upright=upright)
        return image, labels, supervision, weak

    def _with_lesion(
        self, name: str, case: PatchCase, corner: Sequence[int], rng: np.random.Generator
    ) -> PatchCase:
        """The case, by chance with another case's lesion in the patch that `corner` begins."""
        balance, size = self.balance, self.augmenter.size
        if rng.random() >= balance.copy_chance or self.supervision.of(name).kind != "full":
            return case
        found = self._table.donor(balance.copied, name, rng)
        if found is None:
            return case
        donor, value = found
        lesion = cut_lesion(self.store.case(donor), value, balance.copied, size.final_vox, rng)
        return paste(case, lesion, corner, size, rng)


@dataclass(frozen=True, slots=True)
class _Faulty:
    """What a worker returns in place of a batch: torch would keep an error's text only."""

    step: int
    faults: tuple[FedNNUNetError, ...]


@dataclass(frozen=True, slots=True)
class _Asked:
    """One batch that a worker is to make; `key` tells one source from another."""

    key: str
    source: Source
    step: int


@dataclass(frozen=True, slots=True)
class _InWorker:
    """Makes what a worker is asked for; a fault is a value.

    The sources last seen are kept as they first came, with the cases that they hold open.
    """

    seen: dict[str, Source] = field(default_factory=dict)

    def __getitem__(self, asked: _Asked) -> Batch | _Faulty:
        if asked.key not in self.seen and len(self.seen) >= _MAX_SOURCES:
            self.seen.pop(next(iter(self.seen)))
        source = self.seen.setdefault(asked.key, asked.source)
        try:
            return source[asked.step]
        except FedNNUNetError as fault:
            return _Faulty(asked.step, single_faults(fault))


class _Workers:
    """Processes that make batches, for one stretch of training after another."""

    def __init__(self, count: int, pin: bool) -> None:
        self._asked: list[_Asked] = []
        self._loader: torch.utils.data.DataLoader[Batch | _Faulty] = torch.utils.data.DataLoader(
            _InWorker(),  # type: ignore[arg-type]
            batch_size=None,
            sampler=self._asked,
            num_workers=count,
            prefetch_factor=2,
            pin_memory=pin,
            persistent_workers=True,
        )

    def make(self, source: Source, steps: range) -> Iterator[Batch | _Faulty]:
        """The batches of `steps`, in order; ask again only once these are all taken."""
        key = sha256(ForkingPickler.dumps(source)).hexdigest()
        self._asked[:] = [_Asked(key, source, step) for step in steps]
        return iter(self._loader)


_resting: dict[tuple[int, bool], _Workers] = {}
"""Workers without work, by their number and whether they pin: a site trains for seconds a round,
and to start 16 processes would take as long."""


def batches(source: Source, start: int, stop: int, *, workers: int, pin: bool) -> Iterator[Batch]:
    """The batches of iterations `start` to before `stop`, in order.

    With `workers` they are made ahead in that many processes, at most two waiting in each; the
    processes stay for the next call. A fault of a case is raised here as it was found there;
    WorkerError if a worker is killed.
    """
    if workers == 0:
        for step in range(start, stop):
            yield source[step].pin_memory() if pin else source[step]
        return
    steps = range(start, stop)
    kind = (min(workers, len(steps)), pin)
    staff = _resting.pop(kind, None) or _Workers(*kind)
    try:
        for step, made in zip(steps, staff.make(source, steps), strict=True):
            if isinstance(made, _Faulty):
                raise_all(f"the batch of iteration {made.step} cannot be made", made.faults)
            else:
                if step == steps[-1]:
                    _resting[kind] = staff
                yield made
    except RuntimeError as error:
        if not _DEATH.match(str(error)):
            raise
        raise WorkerError(
            f"a process that makes batches ended: {str(error).splitlines()[0]}",
            mend="often memory ran out: close other programs, or train on a machine with more",
        ) from None
