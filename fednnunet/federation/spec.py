"""The federation file: one TOML that every command reads."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fednnunet import records
from fednnunet.errors import FedNNUNetError, InputError, raise_all
from fednnunet.federation.membership import Member, Selection, present
from fednnunet.federation.methods.catalogue import METHODS
from fednnunet.planning.presets import PLANNERS
from fednnunet.task import Task
from fednnunet.training.recipe import RECIPES

FOLDS = 5
MOST_ROUNDS, MOST_ITERATIONS = 100_000, 10_000_000

_SITE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def _known(word: str, name: str, table: Collection[str]) -> None:
    if name not in table:
        raise InputError(f"there is no {word} {name!r}", mend=f"choose one of: {', '.join(table)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteSpec:
    """One site, embedded in this process.

    `annotated` lists the labels that a "partial" site draws. `policy` is the site's own file of
    limits on what it shares (`site.toml` in its folder if not given). `patient` is a regular
    expression whose first group is the patient in a case's name, for patients scanned twice. A site
    that does not train takes part in planning, and evaluates the global model on all its cases.
    A site that trains is in the rounds from `joins` to `leaves`, counted from 1 over all phases
    (none: to the end); these two may be changed while the federation trains.
    """

    folder: Path
    labels: Literal["full", "partial"] = "full"
    annotated: tuple[str, ...] = ()
    trains: bool = True
    memory_gib: float | None = None
    policy: Path | None = None
    patient: str | None = None
    joins: int = 1
    leaves: int | None = None

    def __post_init__(self) -> None:
        if self.joins < 1 or (self.leaves is not None and self.leaves < self.joins):
            raise InputError(
                f"joins is {self.joins} and leaves {self.leaves}",
                mend="give rounds, counted from 1, of which `joins` is not the later",
            )
        try:
            groups = re.compile(self.patient or "()").groups
        except re.error as error:
            raise InputError(
                f"patient is no regular expression: {error}", mend="correct it"
            ) from None
        if groups < 1:
            raise InputError(
                f"patient = {self.patient!r} has no group", mend='e.g. patient = "(.+)_scan[0-9]"'
            )
        if (self.labels == "partial") != bool(self.annotated):
            raise InputError(
                f"labels = {self.labels!r} with annotated = {list(self.annotated)}",
                mend='a "partial" site lists what it annotates, a "full" site does not',
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What the sites' machines can bear; no `memory_gib` takes the planner's own target."""

    memory_gib: float | None = None
    planner: str = "plain"
    workers: int = 1

    def __post_init__(self) -> None:
        _known("planner", self.planner, PLANNERS)
        if (self.memory_gib is not None and self.memory_gib <= 0) or self.workers < 1:
            raise InputError("memory_gib and workers must be positive", mend="e.g. 8 and 2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How the federation trains.

    `held_out` is the share of each site's cases kept for evaluation, split by `seed`; a site that
    has a test set (`imagesTs`, `labelsTs`) trains on all other cases and is evaluated on that.
    With a `split_seed` other seeds keep the same split. `max_cases` bounds each site's training
    cases (0: all), those held out and the plan being the same: the first in order of their names.
    With a `fold` (0 to 4) every site instead holds out that fifth of its patients, test set or not;
    the folds are the same for every `seed`. After every `validate_every` rounds (0: never) the
    sites score the model on their held-out cases; the best round's is kept beside the last one's,
    and `keep` says which of them is the result. `compile` runs the network through torch.compile.
    In `personal_rounds` after them every site trains all its tensors alone. By `personal_schedule`
    the learning rate continues over both on one schedule, or begins anew ("own"), which for a few
    rounds is high enough to undo what was learnt together. `public_rounds` follow where a method
    keeps tensors private: the sites train a public copy of those on the frozen shared body, for
    hospitals outside. `baselines` are methods trained beside `method` with the same cases and
    iterations, for comparison. Fewer than `quorum` replies end a round with an error (0: all that
    were asked must reply); it may be changed while the federation trains. `sites_per_round` of the
    sites take part in a joint round (0: all), by `selection`: drawn evenly over time, or those with
    a high loss. The reference "pooled" sees as many "samples" as all sites together, or takes as
    many "iterations" as one.
    `contribution` asks each site, after the last joint round, what a model made without it lacks
    there, for an estimate of what it gives the others. With `routed` the sites are asked for their
    own models after `method`'s training, for a bundle that hospitals outside mix for each case;
    each site's own policy decides whether it gives its.
    """

    method: str = "fedease"
    rounds: int = 40
    iterations_per_round: int = 25
    recipe: str = "fast"
    configuration: str = "3d_fullres"
    held_out: float = 0.2
    fold: int | None = None
    validate_every: int = 0
    keep: Literal["last", "best"] = "last"
    seed: int = 0
    split_seed: int | None = None
    max_cases: int = 0
    personal_rounds: int = 0
    personal_schedule: Literal["own", "continued"] = "continued"
    public_rounds: int = 20
    baselines: tuple[str, ...] = ()
    routed: bool = False
    quorum: int = 0
    sites_per_round: int = 0
    selection: Selection = "random"
    pooled: Literal["samples", "iterations"] = "samples"
    contribution: bool = False
    device: str = "auto"
    compile: bool = False

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
            raise InputError("rounds and iterations_per_round must be at least 1", mend="raise it")
        if self.personal_rounds < 0 or self.public_rounds < 0:
            raise InputError("no phase has fewer than 0 rounds", mend="raise it")
        if max(self.rounds, self.personal_rounds, self.public_rounds) > MOST_ROUNDS:
            raise InputError("a phase has too many rounds", mend=f"at most {MOST_ROUNDS} each")
        if self.iterations_per_round > MOST_ITERATIONS:
            raise InputError("iterations_per_round is too large", mend=f"at most {MOST_ITERATIONS}")
        if min(self.seed, self.split_seed or 0) < 0:
            raise InputError("a seed is negative", mend="give 0 or more")
        if self.sites_per_round < 0 or self.quorum < 0:
            raise InputError("sites_per_round and quorum count sites", mend="give 0 or more")
        if self.max_cases < 0:
            raise InputError(f"max_cases is {self.max_cases}", mend="give 0 (all) or more")
        if not 0 <= self.held_out < 1:
            raise InputError(f"held_out is {self.held_out}", mend="give a share from 0 to below 1")
        if self.fold not in (None, *range(FOLDS)):
            raise InputError(f"there is no fold {self.fold}", mend=f"give 0 to {FOLDS - 1}")
        if self.validate_every < 0 or (self.keep == "best" and not self.validate_every):
            raise InputError(
                f'validate_every is {self.validate_every} with keep = "{self.keep}"',
                mend="the best round is among those validated: set validate_every to 1 or more",
            )
        if self.method in self.baselines:
            raise InputError(f"{self.method!r} is its own reference", mend="take it out")


@dataclass(frozen=True, slots=True, kw_only=True)
class Federation:
    """A task, its sites, and how they plan and train together."""

    task: Task
    sites: dict[str, SiteSpec]
    budget: Budget = Budget()
    training: Training = Training()

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
        """Every round that surely comes has a site, every site a round, and a quorum can be met."""
        training, members = self.training, self.members
        self.check_rounds(training.rounds + training.personal_rounds)
        rounds = training.rounds + training.personal_rounds + training.public_rounds
        for name, member in members.items():
            if member.joins > rounds:
                raise InputError(
                    f"site {name} joins in round {member.joins} of {rounds}, so it never trains",
                    where=f"sites.{name}.joins",
                    mend="let it join earlier, or say trains = false",
                )
        asked = min(training.sites_per_round or len(members), len(members))
        if training.quorum > asked:
            raise InputError(
                f"quorum is {training.quorum}, more than the sites that a round asks ({asked})",
                where="training.quorum",
                mend=f"give at most {asked}, or 0 for all that are asked",
            )

    def check_rounds(self, rounds: int) -> None:
        """Raise InputError if one of so many rounds has no site: a training would end halfway."""
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
        """The label values that a site draws, background included."""
        names = self.sites[site].annotated or self.task.labels[1:]
        return (0, *(self.task.labels.index(name) for name in names))


def read_federation(path: Path, *, without: Collection[str] = ()) -> Federation:
    """Read a federation file; folders in it are relative to the file.

    They must be there, but for those of the sites in `without`.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"there is no federation file {path.name}", where=str(path), mend="check the path"
        ) from None
    except (ValueError, RecursionError, OSError) as error:
        raise InputError(
            f"{path.name} is not readable TOML: {error}", where=str(path), mend="correct that line"
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
