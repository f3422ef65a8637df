"""The federation file: one TOML file that every command reads."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from fednnunet import records
from fednnunet.errors import FedNNUNetError, InputError, raise_all
from fednnunet.federation.membership import Member, Selection, present
from fednnunet.federation.methods.catalogue import METHODS
from fednnunet.planning.presets import PLANNERS
from fednnunet.schema import OneOf
from fednnunet.task import Task
from fednnunet.training.recipe import RECIPES

FOLDS = 5

_SITE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def _known(kind: str, name: str, table: Collection[str]) -> None:
    if name not in table:
        raise InputError(f"there is no {kind} {name!r}", mend=f"choose one of: {', '.join(table)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteSpec:
    """One site of a simulation, whose data are in a folder on this machine."""

    folder: Path
    """Folder in nnU-Net's raw layout (imagesTr, labelsTr, dataset.json), relative to this file."""
    labels: Literal["full", "partial"] = "full"
    """Whether the site annotates all labels of the task ("full") or only some ("partial")."""
    annotated: tuple[str, ...] = ()
    """The labels that a "partial" site annotates."""
    trains: bool = True
    """Whether the site trains. An external site (false) takes part in planning and evaluates the
    global model on all of its cases."""
    memory_gib: float | None = None
    """GPU memory of the site in GiB; by default that of the budget."""
    policy: Path | None = None
    """File with the site's own limits on what it shares; by default `site.toml` in its folder."""
    patient: str | None = None
    """Regular expression whose first group is the patient in a case's name, for patients with
    several cases. All cases of a patient stay on the same side of a split."""
    joins: int = 1
    """First round in which the site takes part, counted from 1 over all phases. It may be changed
    during the training."""
    leaves: int | None = None
    """Last round in which the site takes part; by default the last one of all. It may be changed
    during the training."""

    def __post_init__(self) -> None:
        if self.joins < 1 or (self.leaves is not None and self.leaves < self.joins):
            raise InputError(
                f"joins is {self.joins} and leaves {self.leaves}",
                mend="give rounds counted from 1, with `joins` not after `leaves`",
            )
        try:
            groups = re.compile(self.patient or "()").groups
        except re.error as error:
            raise InputError(
                f"patient is no regular expression: {error}",
                mend='correct the expression, e.g. patient = "(.+)_scan[0-9]"',
            ) from None
        if groups < 1:
            raise InputError(
                f"patient = {self.patient!r} has no group",
                mend='put the patient in parentheses, e.g. patient = "(.+)_scan[0-9]"',
            )
        if (self.labels == "partial") != bool(self.annotated):
            raise InputError(
                f"labels = {self.labels!r} with annotated = {list(self.annotated)}",
                mend='list the annotated labels of a "partial" site, and none for a "full" site',
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Memory and processes of the sites' machines."""

    memory_gib: float | None = None
    """GPU memory in GiB to plan for; by default the planner's own target."""
    planner: Annotated[str, OneOf(PLANNERS)] = "plain"
    """Which network is planned; see plans/README.md."""
    workers: int = 1
    """Cases that each site processes in parallel."""

    def __post_init__(self) -> None:
        _known("planner", self.planner, PLANNERS)
        if (self.memory_gib is not None and self.memory_gib <= 0) or self.workers < 1:
            raise InputError(
                "memory_gib and workers must be positive",
                mend="give numbers above 0, e.g. memory_gib = 8 and workers = 2",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How the federation trains."""

    renamed: ClassVar[Mapping[str, str]] = {
        "closing_rounds": "public_rounds",
        "references": "baselines",
        "most_cases": "max_cases",
    }

    method: str = "fedease"
    """The federated method; see the table in README.md."""
    rounds: int = 40
    """Number of joint rounds."""
    iterations_per_round: int = 25
    """Optimiser steps of each site in a round."""
    recipe: Annotated[str, OneOf(RECIPES)] = "fast"
    """Optimiser, loss and augmentation: "nnunet" as in nnU-Net, or "fast"."""
    configuration: str = "3d_fullres"
    """The configuration of the plan to train."""
    held_out: float = 0.2
    """Share of each site's patients that is held out for evaluation. A site with a test set
    (imagesTs, labelsTs) trains on all other cases and is evaluated on the test set."""
    fold: int | None = None
    """Hold out this fold (0 to 4) of the patients of every site, also where there is a test set.
    The folds do not depend on `seed`."""
    validate_every: int = 0
    """Score the model on the held-out cases after every so many rounds; 0 for never. The bundle of
    the best round is kept in addition to the last one."""
    keep: Literal["last", "best"] = "last"
    """Whether the model of the last round or of the best validated round is the result."""
    seed: int = 0
    """Seed of initial weights, patches and augmentation, and of the split by default."""
    split_seed: int | None = None
    """Seed of the split into training and held-out cases; by default `seed`."""
    max_cases: int = 0
    """Train on at most so many cases of each site, the first by name; 0 for all. The plan and the
    held-out cases do not change."""
    personal_rounds: int = 0
    """Rounds after the joint ones in which every site trains all tensors alone."""
    personal_schedule: Literal["own", "continued"] = "continued"
    """Whether the learning rate in the personal rounds continues the schedule of the joint rounds,
    or starts a schedule of its own (with few rounds, its high start undoes the joint training)."""
    public_rounds: int = 20
    """Rounds for external sites, if the method keeps tensors private: the sites train a public copy
    of these tensors while the shared ones are frozen."""
    baselines: tuple[str, ...] = ()
    """Further methods to train with the same cases and iterations, for comparison."""
    routed: bool = False
    """Collect the sites' own models after the training, for a bundle of experts that external sites
    mix for each case. Each site's policy decides whether its model may leave."""
    quorum: int = 0
    """A round with fewer replies ends the training with an error; 0 means that all invited sites
    must reply. It may be changed during the training."""
    sites_per_round: int = 0
    """Number of sites in a joint round; 0 for all."""
    selection: Selection = "random"
    """How the sites of a round are chosen: at random with equal frequency, or by high loss."""
    pooled: Literal["samples", "iterations"] = "samples"
    """The baseline "pooled" sees as many samples as all sites together, or takes as many iterations
    as one site."""
    contribution: bool = False
    """Estimate each site's contribution (FedCE), with one more request to each site after the last
    joint round."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 or mps."""
    compile: bool = False
    """Whether to run the network through torch.compile."""

    @property
    def runs(self) -> dict[str, str]:
        """The method of each training by its name: "" is the main one, then the baselines."""
        return {"": self.method} | {f"baselines/{name}": name for name in self.baselines}

    @property
    def mirrored(self) -> bool:
        """Whether sites train on mirrored patches as well, so that predictions may be mirrored."""
        return RECIPES[self.recipe].augmentation.mirror

    def __post_init__(self) -> None:
        for name in (self.method, *self.baselines):
            _known("method", name, METHODS)
        _known("recipe", self.recipe, RECIPES)
        if self.rounds < 1 or self.iterations_per_round < 1:
            raise InputError(
                "rounds and iterations_per_round must be at least 1",
                mend="set both to 1 or more",
            )
        if self.personal_rounds < 0 or self.public_rounds < 0:
            raise InputError(
                "personal_rounds or public_rounds is negative",
                mend="set both to 0 (no such rounds) or more",
            )
        if self.sites_per_round < 0 or self.quorum < 0:
            raise InputError(
                "sites_per_round or quorum is negative",
                mend="set both to 0 (all sites) or to a number of sites",
            )
        if self.max_cases < 0:
            raise InputError(
                f"max_cases is {self.max_cases}", mend="set it to 0 (all cases) or more"
            )
        if not 0 <= self.held_out < 1:
            raise InputError(f"held_out is {self.held_out}", mend="give a share from 0 to below 1")
        if self.fold not in (None, *range(FOLDS)):
            raise InputError(
                f"there is no fold {self.fold}", mend=f"choose a fold from 0 to {FOLDS - 1}"
            )
        if self.validate_every < 0 or (self.keep == "best" and not self.validate_every):
            raise InputError(
                f'validate_every is {self.validate_every} with keep = "{self.keep}"',
                mend='for keep = "best", set validate_every to 1 or more',
            )
        if self.method in self.baselines:
            raise InputError(
                f"{self.method!r} is its own baseline", mend="remove it from training.baselines"
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
    training: Training = Training()
    """How the sites train."""

    def __post_init__(self) -> None:
        if not any(site.trains for site in self.sites.values()):
            raise InputError("no site trains", mend="add a [sites.NAME] table with a folder")
        self._check_members()
        for name, site in self.sites.items():
            if not _SITE_NAME.fullmatch(name):
                raise InputError(
                    f"{name!r} cannot be a site's name",
                    where=f"sites.{name}",
                    mend="use letters, digits, - and _, beginning with a letter or digit",
                )
            unknown = set(site.annotated) - set(self.task.labels[1:])
            if unknown:
                raise InputError(
                    f"site {name} annotates {sorted(unknown)}, which the task does not name",
                    where=f"sites.{name}.annotated",
                    mend=f"choose from {list(self.task.labels[1:])}",
                )

    def _check_members(self) -> None:
        """Check that every round has a site, every site has a round, and the quorum is possible."""
        training, members = self.training, self.members
        self.check_rounds(training.rounds + training.personal_rounds)
        rounds = training.rounds + training.personal_rounds + training.public_rounds
        for name, member in members.items():
            if member.joins > rounds:
                raise InputError(
                    f"site {name} joins in round {member.joins} of {rounds}, so it never trains",
                    where=f"sites.{name}.joins",
                    mend="let the site join earlier, or set trains = false",
                )
        invited = min(training.sites_per_round or len(members), len(members))
        if training.quorum > invited:
            raise InputError(
                f"quorum is {training.quorum}, but a round invites only {invited} sites",
                where="training.quorum",
                mend=f"set the quorum to at most {invited}, or to 0 for all invited sites",
            )

    def check_rounds(self, rounds: int) -> None:
        """Raise InputError if a round has no site, since the training could not finish."""
        for number in range(rounds):
            present(self.members, number)

    @property
    def members(self) -> dict[str, Member]:
        """The sites that train, and when."""
        return {
            name: Member(joins=site.joins, leaves=site.leaves)
            for name, site in self.sites.items()
            if site.trains
        }

    def annotated_values(self, site: str) -> tuple[int, ...]:
        """The label values that a site annotates, background included."""
        names = self.sites[site].annotated or self.task.labels[1:]
        return (0, *(self.task.labels.index(name) for name in names))


def read_federation(path: Path, *, without: Collection[str] = ()) -> Federation:
    """Read a federation file; folders in it are relative to the file.

    The folders must exist, except those of the sites in `without`.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"there is no federation file {path.name}",
            where=str(path),
            mend="correct the path of the federation file",
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise InputError(
            f"{path.name} is not readable TOML: {error}",
            where=str(path),
            mend="correct the line that the message names",
        ) from None
    federation = records.decode(Federation, data, source=str(path))
    return _with_absolute_paths(federation, path.resolve().parent, without)


def _with_absolute_paths(
    federation: Federation, base: Path, without: Collection[str]
) -> Federation:
    faults: list[FedNNUNetError] = []
    sites = {}
    for name, site in sorted(federation.sites.items()):
        folder = (base / site.folder).resolve()
        policy = (base / site.policy).resolve() if site.policy else None
        if name not in without and not folder.is_dir():
            faults.append(_missing("folder", folder, name))
        if name not in without and policy and not policy.is_file():
            faults.append(_missing("policy file", policy, name))
        sites[name] = dataclasses.replace(site, folder=folder, policy=policy)
    raise_all("the federation's sites cannot be reached", faults)
    return dataclasses.replace(federation, sites=sites)


def _missing(what: str, path: Path, site: str) -> InputError:
    return InputError(
        f"the {what} of site {site} is missing",
        where=f"site {site}, {path}",
        mend="correct the path; it is taken relative to the federation file",
    )
