"""The pooled kind of run: all training cases of an embedded federation in one place.

It tells what a federation gives away by not sharing its cases. It is for comparison on one's own
machine only: nothing here speaks over a network, and a federation that does is refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from fednnunet.errors import InputError
from fednnunet.federation.coordinator.engine import Engine
from fednnunet.federation.engines.in_process import InProcessEngine
from fednnunet.federation.site.prepared import PreparedSite
from fednnunet.federation.site.trainer import SiteTrainer
from fednnunet.federation.training_spec import Training
from fednnunet.federation.wire.messages import TrainInvite, pack, unpack
from fednnunet.supervision import SiteSupervision
from fednnunet.training.patches import PatchCase, PatchStore

NAME = "pooled"


@dataclass(frozen=True, slots=True)
class PooledStore:
    """The prepared cases of several sites as one store; a case is named `site/case`."""

    stores: Mapping[str, PatchStore]

    def case(self, name: str) -> PatchCase:
        """One site's case."""
        site, _, case = name.partition("/")
        return self.stores[site].case(case)


@dataclass(frozen=True, slots=True)
class PooledSite:
    """Trains on all sites' cases, by the same messages as a site."""

    prepared: PreparedSite

    def answer(self, data: bytes) -> bytes:
        """Take an invite to train as bytes and return the reply as bytes."""
        invite = unpack(data, sender="the coordinator")
        if not isinstance(invite, TrainInvite):
            raise InputError("pooled cases are only trained on", mend="ask the sites themselves")
        return pack(SiteTrainer(self.prepared).train(invite))


def pooled_engine(engine: Engine, base: Path) -> InProcessEngine:
    """An engine of one site, `pooled`, that holds the training cases of all prepared sites.

    Each case keeps the kind of labels that its site states. Raises InputError where the sites are
    not folders on this machine.
    """
    if not isinstance(engine, InProcessEngine):
        raise InputError(
            "cases can be pooled only where all sites are folders on this machine",
            where="method pooled",
            mend="take it out of training.method or training.baselines",
        )
    sites = {name: engine.local(name).prepared for name in engine.sites}
    return InProcessEngine(
        {NAME: PooledSite(_pool({n: site for n, site in sites.items() if site.cases}, base))}
    )


def _pool(sites: Mapping[str, PreparedSite], base: Path) -> PreparedSite:
    first = next(iter(sites.values()))
    limits = [site.memory_gib for site in sites.values() if site.memory_gib]
    return replace(
        first,
        name=NAME,
        base=base,
        store=PooledStore({name: site.store for name, site in sites.items()}),
        cases=tuple(f"{name}/{case}" for name, site in sites.items() for case in site.cases),
        supervision=SiteSupervision(
            cases={
                f"{name}/{case}": site.supervision.of(case)
                for name, site in sites.items()
                for case in site.cases
            }
        ),
        case_weights={
            f"{name}/{case}": weight
            for name, site in sites.items()
            for case, weight in site.case_weights.items()
        },
        training=replace(first.training, filters=(), filters_down=()),
        memory_gib=min(limits, default=None),
        held_out=None,
        held_out_cases=(),
        log=lambda text: None,  # else the first site's
        sites=1,
    )


def pooled_training(training: Training, iterations: Sequence[int]) -> Training:
    """How pooled cases are trained, to be compared with a federation.

    `iterations` are those of each site that trains, in a round. By `training.pooled` with as many
    samples as all sites together, or with as many iterations as the federation's sites; all in one
    phase, on one schedule.
    """
    rounds = training.rounds + training.personal_rounds
    own = training.iterations_per_round
    if training.pooled == "samples":
        sites = len(iterations)
        taking_part = min(training.sites_per_round or sites, sites)
        # sites that take part in turn count by their mean number of iterations
        together = taking_part * training.rounds + sites * training.personal_rounds
        own = math.ceil(Fraction(sum(iterations) * together, sites * rounds))
    return replace(
        training,
        rounds=rounds,
        iterations_per_round=own,
        personal_rounds=0,
        pretraining_rounds=0,
        pretraining=None,
        sites_per_round=0,
        quorum=0,
        deadline_s=0.0,
        grace_s=0.0,
        exchange_grace_s=0.0,
        filters=(),
        secure=None,
        filters_down=(),
    )
