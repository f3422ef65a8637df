"""Pseudo-labels in local training: where a class is unknown, a teacher labels and the student
learns.

The teacher sees a patch weakly augmented (rotated, scaled and mirrored), the student the same patch
with changed intensities and a box cut out (FixMatch; Sohn et al., NeurIPS 2020). Labels that pass
the tests of `reliability` and agree with what is known teach by the loss of full labels, in which
voxels without a label do not count; known labels count there, too, so that Dice sees whole organs.
Its weight rises over the federation (`ramp`). One pass of the teacher is all that an iteration
costs, and only samples with unknown voxels take part in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fednnunet.errors import InputError
from fednnunet.labels import cross
from fednnunet.labels.components import largest_components
from fednnunet.labels.cut_out import CutOut
from fednnunet.labels.deconflict import deconflicted, remember_change
from fednnunet.labels.graph import drop_unlike_components
from fednnunet.labels.known import has_unknown, possible_labels
from fednnunet.labels.mixup import mixed
from fednnunet.labels.organ_teacher import OrganTeacher, with_organs
from fednnunet.labels.ramp import ramp
from fednnunet.labels.refinement import Guess, Refinement, overruled
from fednnunet.labels.reliability import dropped_logits, label_probabilities, reliable_labels
from fednnunet.labels.settings import PseudoLabels
from fednnunet.labels.teacher import Seen, Teacher, look
from fednnunet.labels.walker import RandomWalker
from fednnunet.planning.plan import Configuration
from fednnunet.supervision import UNKNOWN, Supervision
from fednnunet.task import Task
from fednnunet.training.batches import Batch, SecondView, take
from fednnunet.training.completion import Moment
from fednnunet.training.local_rule import LocalRule
from fednnunet.training.losses import Loss, make_loss, shrink
from fednnunet.training.recipe import Recipe
from fednnunet.training.state import TrainingState


@dataclass(frozen=True, slots=True, kw_only=True)
class LeavesUnknown:
    """Whether the labels of a supervision leave some class of the task unknown."""

    task: Task

    def __call__(self, supervision: Supervision) -> bool:
        """See `known.has_unknown`."""
        return has_unknown(supervision, self.task)


@dataclass(frozen=True, slots=True, kw_only=True)
class PseudoLoss:
    """The loss on pseudo-labels; `cross` weighs that of the coarser head (see `labels.cross`).

    It is a mean over samples, so a batch may go through the network in parts; with `batch_dice` it
    is taken over the samples that go through together.
    """

    loss: Loss
    cross: float

    def __call__(self, logits: Sequence[Tensor], batch: Batch) -> Tensor:
        """Scalar loss of logits, finest first; weighted as the batch says."""
        pairs = zip(batch.pseudo, batch.pseudo_weights, strict=True)
        return torch.stack([self._of(logits, labels) * weight for labels, weight in pairs]).sum()

    def _of(self, logits: Sequence[Tensor], labels: Tensor) -> Tensor:
        if self.loss.batch_dice:
            return self._together(logits, labels)
        rows = range(len(labels))
        each = [self._together([x[r : r + 1] for x in logits], labels[r : r + 1]) for r in rows]
        return torch.stack(each).mean()

    def _together(self, logits: Sequence[Tensor], labels: Tensor) -> Tensor:
        found = self.loss(logits, labels)
        if not self.cross:
            return found
        coarse = shrink(labels, logits[1].shape[2:])
        return found + self.cross * self.loss.level(logits[1], coarse)


@dataclass(frozen=True, slots=True, kw_only=True)
class PseudoLabelling:
    """A completion of labels (`training.completion`) by a teacher, and by a site's own model."""

    settings: PseudoLabels
    task: Task
    organs: OrganTeacher | None = None

    @property
    def second_view(self) -> SecondView:
        """The weak view of samples whose labels leave a class unknown; a cut-out in the other."""
        step = CutOut(chance=self.settings.cut_out, edge=self.settings.cut_out_edge)
        return SecondView(
            wanted=LeavesUnknown(task=self.task), strong=(step,) if self.settings.cut_out else ()
        )

    @property
    def local_rule(self) -> LocalRule:
        """The removal of conflicts, if wanted."""
        return LocalRule(gradient_rules=(deconflicted,) if self.settings.deconflict else ())

    def make_loss(self, task: Task, configuration: Configuration, recipe: Recipe, /) -> PseudoLoss:
        """The loss of full labels, without unknown voxels.

        Raises InputError for cross supervision of a network with one head.
        """
        if self.settings.cross and len(configuration.architecture.stages) < 3:
            raise InputError(
                "cross supervision needs a network with two decoder stages",
                mend="set training.pseudo_labels.cross to 0",
            )
        loss = make_loss(task, Supervision(kind="pseudo"), configuration, recipe)
        return PseudoLoss(loss=loss, cross=self.settings.cross)

    def begin(self, state: TrainingState, /) -> None:
        """The teacher of a round, from the network as received."""
        self._teacher.begin(state)
        if self.settings.deconflict:
            remember_change(state)

    def follow(self, state: TrainingState, /) -> None:
        """The teacher after an iteration."""
        self._teacher.follow(state)

    def end(self, state: TrainingState, /) -> None:
        """Keep of the teacher what the next round needs."""
        self._teacher.end(state)

    @torch.no_grad()
    def complete(self, state: TrainingState, batch: Batch, moment: Moment, /) -> Batch:
        """The batch with pseudo-labels of the samples that leave a class unknown."""
        settings, weak = self.settings, batch.weak
        weight = settings.weight * ramp(settings, moment.done)
        batch = replace(batch, weak=None)
        if weak is None or not weight:
            return batch
        device = moment.execution.torch_device
        rows = tuple(row for row, s in enumerate(batch.supervision) if has_unknown(s, self.task))
        found = iter(self._labels(state, _chosen(batch, weak, rows, device), moment))
        empty = torch.full_like(batch.labels[0], UNKNOWN, device=device)
        pseudo = [next(found) if row in rows else empty for row in range(len(batch))]
        batch = replace(batch, pseudo=(torch.stack(pseudo),), pseudo_weights=(weight,))
        return mixed(batch, settings.mixup, state.step) if settings.mixup else batch

    @property
    def _teacher(self) -> Teacher:
        settings = self.settings
        return Teacher(
            decay=settings.decay,
            carry=settings.carry,
            keep_received=settings.uncertainty == "received",
        )

    def _labels(self, state: TrainingState, batch: Batch, moment: Moment) -> Tensor:
        """Pseudo-labels (b, z, y, x; int16) of a batch whose image is the weak view."""
        settings, teacher = self.settings, self._teacher.tensors(state)
        seen = look(state, teacher, batch.image, moment, coarse=settings.cross > 0)
        possible = torch.cat(
            [possible_labels(b.labels, b.supervision[0], self.task) for b in batch.samples()]
        )
        labels = reliable_labels(
            self._views(state, teacher, seen, batch, moment),
            possible,
            confidence=settings.confidence,
            max_spread=settings.max_spread,
            by_class=settings.by_class,
        )
        if seen.coarse is not None:
            head = {kind: teacher[f"heads.1.{kind}"] for kind in ("weight", "bias")}
            other = cross.second_opinion(seen.coarse, head, possible, self.task)
            labels = cross.agreed(labels, other)
        for refine in self._refinements:
            labels = refine(Guess(labels, possible, batch.image, seen.features))
        return overruled(labels, possible)

    def _views(
        self,
        state: TrainingState,
        teacher: Mapping[str, Tensor],
        seen: Seen,
        batch: Batch,
        moment: Moment,
    ) -> list[Tensor]:
        """Probabilities (b, v, z, y, x) of several views, the teacher's own first."""
        views, axes = [seen.logits], tuple(range(2, batch.image.ndim))
        match self.settings.uncertainty:
            case "dropout":
                weight, bias = teacher["heads.0.weight"], teacher["heads.0.bias"]
                views += dropped_logits(seen.features, weight, bias, state.seed + state.step)
            case "flip":
                flipped = look(state, teacher, batch.image.flip(axes), moment)
                views.append(flipped.logits.flip(axes))
            case "received":
                views.append(look(state, self._teacher.received(state), batch.image, moment).logits)
        found = [label_probabilities(logits, self.task) for logits in views]
        if self.organs is None:
            return found
        planes = self.organs.planes(batch.image, moment.execution, moment.at_once)
        return [with_organs(probabilities, planes) for probabilities in found]

    @property
    def _refinements(self) -> tuple[Refinement, ...]:
        """Those that are switched on, in their order."""
        settings = self.settings
        table: tuple[tuple[bool, Refinement], ...] = (
            (settings.components, largest_components),
            (settings.graph, drop_unlike_components),
            (settings.random_walker, RandomWalker(probability=settings.confidence)),
        )
        return tuple(refine for wanted, refine in table if wanted)


def _chosen(batch: Batch, weak: Tensor, rows: Sequence[int], device: torch.device) -> Batch:
    """The chosen samples, on the device, with the weak view as their image."""
    return Batch(
        take(weak, rows).to(device),
        take(batch.labels, rows).to(device),
        tuple(batch.supervision[row] for row in rows),
    )
