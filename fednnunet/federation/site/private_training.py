"""A site's part in differential privacy: what is checked, how it trains, and what it has spent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fednnunet.dataset import Case
from fednnunet.errors import InputError, PlanError, RefusalError
from fednnunet.federation.methods.method import Method
from fednnunet.federation.privacy.accountant import Mechanism, check_installed
from fednnunet.federation.privacy.settings import Privacy
from fednnunet.federation.site.policy import SitePolicy
from fednnunet.federation.site.prepared import PreparedSite
from fednnunet.federation.site.privacy_account import PrivacyAccount, Release
from fednnunet.federation.training_spec import Training
from fednnunet.federation.wire.messages import TrainInvite
from fednnunet.federation.wire.privacy import Gap, Spent
from fednnunet.network.tensors import Tensors
from fednnunet.planning.plan import Plan
from fednnunet.training.local_job import LocalJob
from fednnunet.training.local_rule import LocalRule
from fednnunet.training.patient_batches import SamplePatients
from fednnunet.training.per_patient import PerPatient
from fednnunet.training.start import weights_digest


def check_before_training(
    training: Training, policy: SitePolicy, plan: Plan, patients: int, *, site: str
) -> None:
    """Raise where the site cannot train with the federation's privacy, or its policy asks for more.

    RefusalError where the policy limits epsilon and the training has no privacy, PlanError for a
    plan with batch normalisation, InputError for a delta of 1 / patients or more, or where the
    accountant is not installed.
    """
    privacy = training.privacy
    if privacy is None:
        if policy.privacy is not None:
            raise RefusalError(
                "the site's policy limits epsilon, and the training has no differential privacy",
                where=f"site {site}, [privacy] in its policy",
                mend="add the table [training.privacy], or take [privacy] out of the policy",
            )
        return
    if plan.norm == "batch":
        raise PlanError(
            "differential privacy cannot be used with batch normalisation, which mixes patients",
            where="training.privacy",
            mend="plan a network with instance normalisation, or train without the table",
        )
    check_installed()
    if patients and privacy.delta * patients >= 1:
        raise InputError(
            f"delta is {privacy.delta:g}, and site {site} has {patients} training patients: one "
            "could be given away whole",
            where="training.privacy.delta",
            mend=f"set it below 1 / patients, e.g. to {0.1 / patients:.1g}",
        )


def cases_by_patient(cases: Iterable[Case]) -> tuple[tuple[str, ...], ...]:
    """The names of the cases of each patient, both in order of name."""
    found: dict[str, list[str]] = {}
    for case in sorted(cases, key=lambda case: case.name):
        found.setdefault(case.group, []).append(case.name)
    return tuple(tuple(names) for _, names in sorted(found.items()))


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateTraining:
    """Differential privacy of the rounds of a prepared site, by its own federation file."""

    site: PreparedSite
    privacy: Privacy

    @classmethod
    def of(cls, site: PreparedSite, invite: TrainInvite, method: Method) -> PrivateTraining | None:
        """That of a round; None where there is none, or nothing of the round leaves."""
        privacy = site.training.privacy
        if privacy is None or not method.outgoing(site.network, invite.phase):
            return None
        return cls(site=site, privacy=privacy)

    def begin(self, invite: TrainInvite) -> None:
        """Raise RefusalError where the round would exceed the epsilon of the site's policy."""
        limits = self.site.policy.privacy
        limit = limits.max_epsilon if limits else None
        mechanism = self.mechanism(invite.iterations)
        self._account.check(mechanism, self.privacy.delta, limit, self.gaps)

    def job(self, job: LocalJob, invite: TrainInvite) -> LocalJob:
        """The round's job; by patient it samples patients, and clips and noises gradients."""
        if self.privacy.unit == "site":
            return job
        rule = PerPatient(
            clip=self.privacy.clip,
            noise=self.privacy.noise,
            expected=self._expected,
            patches=self.privacy.patches_per_patient,
            batch=job.configuration.batch,
            targets=len(job.plan.task.targets),
        )
        sampling = SamplePatients(
            patients=self._patients,
            rate=self._rate,
            patches=self.privacy.patches_per_patient,
            use=f"{invite.run}/{invite.phase}/{invite.round}",
        )
        local_rule = job.local_rule + LocalRule(gradient_rules=(rule,))
        return replace(job, local_rule=local_rule, sampling=sampling)

    def end(self, invite: TrainInvite, payload: Tensors) -> Spent:
        """Write down that the tensors may leave; what is spent with them."""
        release = Release(
            run=invite.run,
            phase=invite.phase,
            round=invite.round,
            mechanism=self.mechanism(invite.iterations),
            sha256=weights_digest(payload),
        )
        self._account.add(release)
        return self._account.spent(invite.run, self.privacy.unit, self.privacy.delta, self.gaps)

    def mechanism(self, iterations: int) -> Mechanism:
        """That of a round. An update in a ball of radius C changes by at most 2 C."""
        if self.privacy.unit == "site":
            return Mechanism(noise=self.privacy.noise / 2)
        return Mechanism(noise=self.privacy.noise, rate=self._rate, steps=iterations)

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """Why there is no figure; nothing where there is one."""
        training, policy = self.site.training, self.site.policy
        checks: tuple[tuple[Gap, bool], ...] = (
            ("no_noise", not self.privacy.noise),
            ("patients_not_stated", self._by_patient and not self.site.patients_stated),
            ("model_leaves", training.routed and policy.share_model),
        )
        return tuple(gap for gap, holds in checks if holds)

    @property
    def _by_patient(self) -> bool:
        return self.privacy.unit == "patient"

    @property
    def _account(self) -> PrivacyAccount:
        return PrivacyAccount(base=self.site.base, site=self.site.name)

    @property
    def _patients(self) -> tuple[tuple[str, ...], ...]:
        return self.site.patients or tuple((name,) for name in sorted(self.site.cases))

    @property
    def _expected(self) -> float:
        """Patients in an iteration on average."""
        wanted = self.privacy.patients_per_iteration or self.site.configuration.batch
        return min(float(wanted), float(len(self._patients)))

    @property
    def _rate(self) -> float:
        return self._expected / len(self._patients)
