"""The federation file: one TOML file that every command reads."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from fednnunet import records
from fednnunet.errors import FedNNUNetError, InputError, raise_all
from fednnunet.federation.card_spec import CardSpec
from fednnunet.federation.log_spec import LogSpec
from fednnunet.federation.membership import Member, present
from fednnunet.federation.network_spec import Network
from fednnunet.federation.patient_pattern import check_pattern
from fednnunet.federation.secure_checks import check_secure_sites
from fednnunet.federation.secure_spec import Planning
from fednnunet.federation.site_names import checked_sites
from fednnunet.federation.training_spec import Training
from fednnunet.label_names import check_targets
from fednnunet.planning.presets import PLANNERS
from fednnunet.ranges import AtMost
from fednnunet.schema import Names
from fednnunet.supervision import Supervision, partial_supervision
from fednnunet.task import Task
from fednnunet.text import choices


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteSpec:
    """One site: of a simulation, with its folder on this machine, or of a network."""

    folder: Path = Path()
    """Folder in nnU-Net's raw layout (imagesTr, labelsTr, dataset.json), relative to this file.
    Over a network it is left out: the site alone knows it."""
    labels: Literal["full", "partial"] = "full"
    """Whether the site annotates all labels of the task ("full") or only some ("partial"). The
    site's own dataset.json may say more, case by case (`supervision`, `annotated`); this holds for
    what it does not say."""
    annotated: tuple[str, ...] = ()
    """The labels that a "partial" site annotates."""
    label_names: dict[str, str] = field(default_factory=dict)
    """The site's own labels, by their name in its dataset.json or their value in its label maps,
    and which of the task's labels each stands for, e.g. {GTV = "tumour"} or {5 = "tumour"}. Its
    label maps are read through it; the files stay as they are."""
    trains: bool = True
    """Whether the site trains. An external site (false) takes part in planning and evaluates the
    global model on all of its cases."""
    memory_gib: float | None = None
    """GPU memory of the site in GiB; by default that of the budget."""
    policy: Path | None = None
    """File with the site's own limits on what it shares; by default `site.toml` in its folder."""
    patient: str | None = None
    """Regular expression whose first group is the patient in a case's name, for patients with
    several cases. All cases of a patient stay on the same side of a split. At most 200 characters
    with four repeats (*, +, ?, {}), none of a group, so that no name takes forever to match."""
    joins: int = 1
    """First round in which the site takes part, counted from 1 over all phases. It may be changed
    during the training."""
    leaves: int | None = None
    """Last round in which the site takes part; by default the last one of all. It may be changed
    during the training."""
    iterations_per_round: int | None = None
    """Optimiser steps of this site in a round; by default those of the federation."""
    ledger_key: Annotated[str, AtMost(200)] = ""
    """The inner line of the site's `ledger_key.pub.pem`. Under secure aggregation other sites take
    keys of this site only if they are signed by it; by default each site trusts the key that it
    sees first."""

    def __post_init__(self) -> None:
        if self.iterations_per_round is not None and self.iterations_per_round < 1:
            raise InputError(
                f"iterations_per_round is {self.iterations_per_round}",
                mend="give 1 or more, or leave it out to use the federation's number",
            )
        if self.joins < 1 or (self.leaves is not None and self.leaves < self.joins):
            raise InputError(
                f"joins is {self.joins} and leaves {self.leaves}",
                mend="give rounds counted from 1, with `joins` not after `leaves`",
            )
        if self.patient:
            check_pattern(self.patient)
        if (self.labels == "partial") != bool(self.annotated):
            raise InputError(
                f"labels = {self.labels!r} with annotated = {list(self.annotated)}",
                mend='list the annotated labels of a "partial" site, and none for a "full" site',
            )

    def agreed_labels(self, task: Task) -> Supervision:
        """What the labels of the site's cases are, as far as its own dataset.json does not say."""
        names = self.annotated or task.labels[1:]
        return partial_supervision([task.labels.index(name) for name in names], task)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Memory and processes of the sites' machines."""

    memory_gib: float | None = None
    """GPU memory in GiB to plan for; by default the planner's own target."""
    planner: Annotated[str, Names(PLANNERS)] = "plain"
    """Which network is planned; see plans/README.md."""
    workers: int = 1
    """Cases that each site processes in parallel."""

    def __post_init__(self) -> None:
        if self.planner not in PLANNERS:
            raise InputError(
                f"there is no planner {self.planner!r}",
                mend=choices(self.planner, PLANNERS),
            )
        if (self.memory_gib is not None and self.memory_gib <= 0) or self.workers < 1:
            raise InputError(
                "memory_gib and workers must be positive",
                mend="give numbers above 0, e.g. memory_gib = 8 and workers = 2",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Federation:
    """A task, its sites, and how they plan and train together."""

    task: Task
    """What is segmented, the same at every site."""
    sites: dict[str, SiteSpec]
    """The sites by name."""
    budget: Budget = Budget()
    """What the sites' machines can do."""
    planning: Planning = field(default_factory=Planning)
    """How the sites' statistics are merged."""
    training: Training = field(default_factory=Training)
    """How the sites train."""
    card: CardSpec = field(default_factory=CardSpec)
    """What the models' cards say beyond what was measured."""
    log: LogSpec = field(default_factory=LogSpec)
    """Keys of the coordinator's signed log of rounds, and what is kept for an auditor."""
    network: Network | None = None
    """Where the coordinator is, if the sites are on machines of their own."""

    def __post_init__(self) -> None:
        if not any(site.trains for site in self.sites.values()):
            raise InputError("no site trains", mend="add a [sites.NAME] table with a folder")
        object.__setattr__(self, "sites", checked_sites(self.sites))
        self._check_members()
        check_secure_sites(
            self.training,
            self.members,
            invited=self.invited,
            planning=len(self.sites) if self.planning.secure else None,
        )
        for name in self.log.site_keys.keys() - self.sites.keys():
            raise InputError(
                f"there is no site {name}",
                where="log.site_keys",
                mend=choices(name, self.sites),
            )
        if self.training.imbalance is not None:
            self.training.imbalance.check_task(self.task)
        for name, site in self.sites.items():
            check_targets(site.label_names, self.task, site=name)
            unknown = set(site.annotated) - set(self.task.labels[1:])
            if unknown:
                raise InputError(
                    f"site {name} annotates {sorted(unknown)}, which the task does not name",
                    where=f"sites.{name}.annotated",
                    mend=choices(min(unknown), self.task.labels[1:]),
                )

    def _check_members(self) -> None:
        """Check that every round has a site, every site has a round, and the quorum is possible."""
        training, members = self.training, self.members
        self.check_rounds(training.joint_end + training.personal_rounds)
        rounds = training.all_rounds
        for name, member in members.items():
            if member.joins > rounds:
                raise InputError(
                    f"site {name} joins in round {member.joins} of {rounds}, so it never trains",
                    where=f"sites.{name}.joins",
                    mend="let the site join earlier, or set trains = false",
                )
        if training.sites_per_round > len(members):
            raise InputError(
                f"sites_per_round is {training.sites_per_round}, but only {len(members)} sites "
                "train",
                where="training.sites_per_round",
                mend=f"set it to at most {len(members)}, or to 0 for all sites",
            )
        invited = self.invited
        if training.quorum > invited:
            raise InputError(
                f"quorum is {training.quorum}, but a round invites only {invited} sites",
                where="training.quorum",
                mend=f"set the quorum to at most {invited}, or to 0 for all invited sites",
            )

        robust, fewest = training.robust, min(invited, training.quorum or invited)
        if robust is not None and fewest < robust.min_sites:
            raise InputError(
                f"{robust.rule} against {robust.faulty} faulty sites needs {robust.min_sites} "
                f"replies in a round, which may end with {fewest}",
                where="training.robust",
                mend="lower faulty, choose another rule, raise the quorum, or remove the table",
            )

    @property
    def invited(self) -> int:
        """The number of sites in a joint round, where all of them are members."""
        return min(self.training.sites_per_round or len(self.members), len(self.members))

    def check_rounds(self, rounds: int) -> None:
        """Raise InputError if a round has no site, since the training could not finish."""
        for number in range(rounds):
            present(self.members, number)

    @property
    def members(self) -> dict[str, Member]:
        """The sites that train, and when."""
        return {
            name: Member(joins=site.joins, leaves=site.leaves, iterations=site.iterations_per_round)
            for name, site in self.sites.items()
            if site.trains
        }

    def agreed_labels(self, site: str) -> Supervision:
        """What the labels of a site's cases are, as far as its own dataset.json does not say."""
        return self.sites[site].agreed_labels(self.task)


def read_federation(
    path: Path, *, without: Collection[str] = (), missing: bool = False
) -> Federation:
    """Read a federation file; folders in it are relative to the file.

    The folders must exist, except those of the sites in `without`, or with `missing` all of them.
    """
    federation = decode_federation(path)
    unseen = federation.sites if missing else without
    return _with_absolute_paths(federation, path.resolve().parent, unseen)


def decode_federation(path: Path) -> Federation:
    """A federation file as it is written; its folders are not looked at."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"there is no federation file {path.name}",
            where=str(path),
            mend="correct the path of the federation file",
        ) from None
    except (ValueError, RecursionError, OSError) as error:
        raise InputError(
            f"{path.name} is not readable TOML: {error}",
            where=str(path),
            mend="correct the line that the message names",
        ) from None
    return records.decode(Federation, data, source=str(path))


def _with_absolute_paths(
    federation: Federation, base: Path, without: Collection[str]
) -> Federation:
    faults: list[FedNNUNetError] = []
    sites = {}
    for name, site in sorted(federation.sites.items()):
        folder = (base / site.folder).resolve()
        policy = (base / site.policy).resolve() if site.policy else None
        if name not in without and site.folder == Path():
            faults.append(_no_folder(name))
        elif name not in without and not folder.is_dir():
            faults.append(_missing("folder", folder, name))
        if name not in without and policy and not policy.is_file():
            faults.append(_missing("policy file", policy, name))
        sites[name] = dataclasses.replace(site, folder=folder, policy=policy)
    raise_all("the federation's sites cannot be reached", faults)
    return dataclasses.replace(federation, sites=sites)


def _no_folder(site: str) -> InputError:
    return InputError(
        f"site {site} has no folder",
        where=f"sites.{site}",
        mend="give its folder, or use fednnunet_coordinate where the site is on another machine",
    )


def _missing(what: str, path: Path, site: str) -> InputError:
    return InputError(
        f"the {what} of site {site} is missing",
        where=f"site {site}, {path}",
        mend="correct the path; it is taken relative to the federation file",
    )
