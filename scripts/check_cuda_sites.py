"""A federation in one process whose sites begin with prepared cases."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from check_cuda_bench import CONFIGURATION, Bench, Cases
from check_cuda_report import Result

from fednnunet.federation.coordinator.history import RoundRecord
from fednnunet.federation.coordinator.rounds import run_rounds
from fednnunet.federation.coordinator.run import Run
from fednnunet.federation.engines.in_process import InProcessEngine
from fednnunet.federation.membership import Member
from fednnunet.federation.site.policy import SitePolicy
from fednnunet.federation.site.prepared import PreparedSite
from fednnunet.federation.site.trainer import SiteTrainer
from fednnunet.federation.spec import Training
from fednnunet.federation.wire.messages import TrainInvite, pack, unpack
from fednnunet.supervision import SiteSupervision
from fednnunet.training.initial import initial_tensors

ROUNDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSite:
    """A site without a folder of images: it answers invitations to train, and no others."""

    prepared: PreparedSite

    def answer(self, data: bytes) -> bytes:
        """Take an invitation as bytes and return the reply as bytes."""
        invite = unpack(data, sender="the coordinator")
        if not isinstance(invite, TrainInvite):
            raise TypeError(f"a prepared site was sent {type(invite).__name__}")
        return pack(SiteTrainer(site=self.prepared).train(invite))


def run_federation(bench: Bench, result: Result) -> None:
    """Rounds of fedease, the default method, and one public round."""
    cases = bench.fast
    sites = dict(list(cases.sites.items())[:3])
    training = Training(
        rounds=ROUNDS,
        iterations_per_round=25 if bench.gpu else 2,
        public_rounds=1,
        device=bench.execution.device.name,
    )
    folder = bench.folder / "federation"
    run = Run(name="", folder=folder, plan=cases.plan, training=training)
    engine = InProcessEngine(
        {name: _site(name, names, cases, folder, training) for name, names in sites.items()}
    )
    initial = initial_tensors(cases.plan, CONFIGURATION, seed=training.seed)
    records: list[RoundRecord] = []
    members = {name: Member(cases=len(names)) for name, names in sites.items()}
    state = run_rounds(engine, run, initial, members, records.append)
    for record in records:
        waits = [site.wait_share for site in record.sites.values()]
        losses = [site.loss for site in record.sites.values()]
        result.rows.append(
            {"round": record.round, "phase": record.phase, "seconds": record.seconds}
            | {"seconds at sites": sum(site.seconds for site in record.sites.values())}
            | {"mean loss": float(np.mean(losses)), "waiting for data": f"{max(waits):.1%}"}
        )
    finite = all(bool(np.isfinite(t.float().numpy()).all()) for t in state.shared.values())
    first, last = (
        np.mean([s.loss for s in r.sites.values()]) for r in (records[0], records[ROUNDS - 1])
    )
    result.hold(
        "every tensor is there and finite", finite and state.shared.keys() == initial.keys()
    )
    result.hold("the loss fell", bool(last < first), value=f"{first:.3f} to {last:.3f}")


def _site(
    name: str, names: tuple[str, ...], cases: Cases, folder: Path, training: Training
) -> TrainingSite:
    prepared = PreparedSite(
        name=name,
        base=folder / "sites" / name,
        plan=cases.plan,
        configuration_name=CONFIGURATION,
        store=cases.store,
        cases=names,
        supervision=SiteSupervision(),
        training=training,
        held_out=cases.store,
        held_out_cases=cases.held_out,
        policy=SitePolicy(min_scored_cases=1),  # made-up cases, fewer than a site of patients has
    )
    return TrainingSite(prepared=prepared)
