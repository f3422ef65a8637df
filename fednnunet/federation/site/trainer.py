"""A site's part in a round: from the invite to the reply, with its own state in between."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from fednnunet.federation.filters.chain import context_of, filter_at_site
from fednnunet.federation.methods.method import Method, TrainedSite
from fednnunet.federation.site.figures import loss_spread, received_figures
from fednnunet.federation.site.guard import SiteGuard, alone_job
from fednnunet.federation.site.models import has_left, load_part, network_tensors, own_model
from fednnunet.federation.site.notes import training_notes
from fednnunet.federation.site.overlap import Rows, shared_overlap
from fednnunet.federation.site.prepared import PreparedSite
from fednnunet.federation.site.private_training import PrivateTraining
from fednnunet.federation.wire.extras import join, split
from fednnunet.federation.wire.messages import TrainInvite, TrainReply
from fednnunet.federation.wire.notes import Note
from fednnunet.labels.loss import make_loss
from fednnunet.network.tensors import Tensors
from fednnunet.progress import Progress
from fednnunet.supervision import WITHOUT_MAP
from fednnunet.training.counts import DiceCounts
from fednnunet.training.device import Execution
from fednnunet.training.evaluate_patches import count_patches
from fednnunet.training.local_job import LocalJob
from fednnunet.training.local_rule import RoundContext
from fednnunet.training.state import TrainingState, forget_first_moments
from fednnunet.training.summary import TrainSummary
from fednnunet.training.trainer import train

OVERLAP_CASES = 5
"""With patches of fewer training cases than this in a round, their overlap stays at the site."""


@dataclass(frozen=True, slots=True)
class SiteTrainer:
    """Trains a prepared site for one round at a time."""

    site: PreparedSite

    def train(self, invite: TrainInvite, *, progress: Progress | None = None) -> TrainReply:
        """One round from the site's own state with the tensors of `invite` in it.

        The state after it is saved before the reply is returned, in one file with what the filters
        remember, so that the same invite gives the same reply again.
        """
        method = self.site.training.method_labelled(invite.method)
        private = PrivateTraining.of(self.site, invite, method)
        execution = self.site.execution()
        guard = SiteGuard.of(self.site, invite, method)
        if private:
            private.begin(invite)
            execution = replace(execution, devices=1)  # one process sees every patient of a batch
        state = self._begin(invite, method)
        alone = has_left(state.memory)
        received, extras = split(invite.tensors)
        context = RoundContext(
            start=network_tensors(state.network),
            shared=frozenset(method.shared(received)),
            extras=extras,
        )
        job = self._job(invite, method, context, progress)
        job = alone_job(job, state) if alone else job
        job = private.job(job, invite) if private else job
        figures = received_figures(self.site, state, invite.phase)
        summary = train(state, job, execution)
        figures = replace(figures, loss_spread=loss_spread(self.site, summary, invite.phase))
        payload = received if alone else self._payload(invite, method, state, context)
        payload = self._filtered(invite, payload, state)
        spent = private.end(invite, payload) if private else None
        if guard is not None:
            state = guard.after_round(invite, state, job, summary.loss, execution)
            guard.forget_before(invite)
        states = self.site.states(invite.run)
        states.save(state, invite.phase, invite.round + 1)
        states.forget_before(invite.phase, invite.resume_round)
        notes = self._notes(summary, job, execution, first=not invite.resume_round)
        notes += (Note(code="trains_alone"),) if alone else ()
        reply = self._reply(invite, payload, summary, self._held_out_counts(state), notes)
        reply = replace(reply, alone=alone, figures=figures, spent=spent)
        return self._without_figures(reply)

    def _without_figures(self, reply: TrainReply) -> TrainReply:
        """The reply without figures of training cases, where weights leave with noise or masked."""
        training = self.site.training
        if training.privacy is None and training.secure is None:
            return reply
        held_out = () if training.secure else reply.held_out
        return replace(reply, loss=None, overlap=(), held_out=held_out)

    def _begin(self, invite: TrainInvite, method: Method) -> TrainingState:
        """The state to continue from, with the received tensors in it.

        A public copy has an optimiser and random numbers of its own. The personal phase begins from
        the site's own model.
        """
        stream = f"{self.site.name}/public" if invite.phase == "public" else self.site.name
        state = self.site.new_state(stream=stream)
        if invite.resume_round:
            self.site.states(invite.run).load(state, invite.phase, invite.resume_round)
        if not has_left(state.memory):
            load_part(state.network, split(invite.tensors)[0])
            if invite.phase == "joint" and self.site.training.step.moments == "reset":
                forget_first_moments(state)
        if invite.phase == "personal" and invite.resume_round <= self.site.training.joint_end:
            load_part(state.network, own_model(method, state))
        return state

    def _job(
        self,
        invite: TrainInvite,
        method: Method,
        context: RoundContext,
        progress: Progress | None,
    ) -> LocalJob:
        """The round as a local training job: the public phase freezes what was received as shared,
        unless the method's mean needs training, and a round of pretraining reads no label."""
        site = self.site
        freeze = invite.phase == "public" and not method.mean_needs_training
        together = invite.phase == "joint" and bool(context.shared)
        job = LocalJob(
            store=site.store,
            names=site.cases,
            plan=site.plan,
            configuration=site.configuration,
            recipe=site.joint_recipe(method) if together else site.recipe,
            iterations=invite.iterations,
            schedule_length=invite.schedule_length,
            schedule_start=invite.schedule_start,
            context=context,
            supervision=site.supervision,
            case_weights=site.case_weights,
            make_loss=make_loss,
            completion=site.completion,
            frozen=context.shared if freeze else frozenset(),
            progress=progress,
        )
        if invite.phase == "pretraining":
            return site.pretraining.job(job)
        return replace(job, local_rule=method.local_rule) if invite.phase == "joint" else job

    def _payload(
        self, invite: TrainInvite, method: Method, state: TrainingState, context: RoundContext
    ) -> Tensors:
        """The tensors to send; the method may change the state's memory."""
        extras: Tensors = {}
        if invite.phase == "joint":
            trained = self._trained(state, context)
            if method.personal_model:
                method.personal_model.update(trained)
            extras = method.make_extras(trained)
        return join(method.outgoing(network_tensors(state.network), invite.phase), extras)

    def _filtered(self, invite: TrainInvite, tensors: Tensors, state: TrainingState) -> Tensors:
        """What leaves of the tensors; the filters may change the state's memory."""
        filters, about = self.site.training.filter_chain, context_of(invite, self.site.name)
        return filter_at_site(filters, tensors, about, state.memory)

    def _trained(self, state: TrainingState, context: RoundContext) -> TrainedSite:
        execution = self.site.execution()
        return TrainedSite(
            state=state,
            context=context.on(execution.torch_device),
            each_case=self.site.patches_of_each_case,
            cases=len(self.site.cases),
            min_cases=self.site.policy.required_cases,
            task=self.site.plan.task,
            execution=execution,
        )

    def _held_out_counts(self, state: TrainingState) -> DiceCounts | None:
        """Overlap on the same few patches of held-out cases in every round, if there are any."""
        patches = list(self.site.held_out_patches())
        if not patches:
            return None
        execution = self.site.execution()
        return count_patches(state.network, patches, self.site.plan.task, execution)

    def _shared(self, counts: DiceCounts, cases: Collection[str], least: int) -> Rows:
        task = self.site.plan.task
        return shared_overlap(counts, cases, self.site.supervision, task, least=least)

    def _notes(
        self, summary: TrainSummary, job: LocalJob, execution: Execution, *, first: bool
    ) -> tuple[Note, ...]:
        """What the reply says of the training, in codes; the reasons in words go to the log."""
        for text in (*(execution.reasons if first else ()), *summary.notes):
            self.site.log(text)
        return training_notes(summary, job, execution, first=first)

    def _reply(
        self,
        invite: TrainInvite,
        tensors: Tensors,
        summary: TrainSummary,
        held_out: DiceCounts | None,
        notes: tuple[Note, ...],
    ) -> TrainReply:
        least = self.site.policy.min_scored_cases
        site = self.site
        has_loss = len(summary.cases) >= least and invite.phase != "pretraining"
        return TrainReply(
            tensors=tensors,
            run=invite.run,
            round=invite.round,
            phase=invite.phase,
            cases=len(site.cases),
            loss=summary.loss if has_loss else None,
            seconds=summary.seconds,
            wait_share=summary.wait_share,
            iterations=summary.iterations,
            unlabelled=sum(site.supervision.of(n).kind in WITHOUT_MAP for n in site.cases),
            overlap=self._shared(summary.dice, summary.cases, OVERLAP_CASES),
            held_out=self._shared(held_out, self.site.held_out_cases, least) if held_out else (),
            notes=notes,
        )
