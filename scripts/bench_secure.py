"""What secure aggregation costs, beside plain aggregation and a round's training in the same run.

    python scripts/bench_secure.py                      # 5.6 million parameters, 8 sites
    python scripts/bench_secure.py --bits 32 --sites 16
    python scripts/bench_secure.py --protocol           # 32 sites, 3 drop out, 200 rounds: exact?

Seconds are of the CPU and of one thread, so that they hardly depend on the machine's load. A site
in a federation does its own part at the same time as the others, so the overhead of a round is that
of one site and of the coordinator. Training is timed by single steps of the same network and taken
times the iterations of a round.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from bench_coordinator import SimulatedSites, make_plan

from fednnunet.federation.coordinator.engine import Answer, Deadline
from fednnunet.federation.coordinator.rounds import run_rounds
from fednnunet.federation.coordinator.run import Run
from fednnunet.federation.membership import Member
from fednnunet.federation.secure.protocol import SiteSession, Unmasking, usual_threshold
from fednnunet.federation.secure_checks import with_threshold
from fednnunet.federation.secure_spec import SecureAggregation
from fednnunet.federation.site.masking import SiteMasking
from fednnunet.federation.site.policy import SitePolicy
from fednnunet.federation.spec import Federation, SiteSpec, Training
from fednnunet.federation.wire.messages import Message, TrainInvite, pack, unpack
from fednnunet.federation.wire.secure_messages import MaskedTrainInvite, SecureInvite
from fednnunet.training.initial import initial_tensors, plan_network

ITERATIONS = 25
LOST = 3


class TimedSites:
    """An engine of simulated sites that counts the CPU seconds of their part.

    Every message is packed and read again, as by the engines. What a site computes of a reply
    beside masks (its training) is not counted, packing is.
    """

    def __init__(self, plain: SimulatedSites, sites: Mapping[str, SiteMasking]) -> None:
        self.sites = plain.sites
        self._plain, self._masking = plain, sites
        self.seconds = 0.0
        self.bytes_sent = 0

    def ask(self, invites: Mapping[str, Message], deadline: Deadline) -> Iterator[Answer]:
        """One reply after the other."""
        for site, invite in sorted(invites.items()):
            data = pack(invite)
            begin = time.process_time()
            read = unpack(data, sender="the coordinator")
            spent = time.process_time() - begin
            reply, more = self._reply(site, read)
            begin = time.process_time()
            sent = pack(reply)
            self.seconds += spent + more + time.process_time() - begin
            self.bytes_sent += len(sent)
            yield Answer(site=site, reply=unpack(sent, sender=site))

    def _reply(self, site: str, invite: Message) -> tuple[Message, float]:
        if isinstance(invite, SecureInvite):
            begin = time.process_time()
            return self._masking[site].respond(invite), time.process_time() - begin
        assert isinstance(invite, TrainInvite)
        masked = isinstance(invite, MaskedTrainInvite)
        (answer,) = self._plain.ask({site: invite.plain if masked else invite})
        assert answer.reply is not None
        if not masked:
            return answer.reply, 0.0
        begin = time.process_time()
        reply = self._masking[site].reply(invite, answer.reply)
        return reply, time.process_time() - begin


def measure(sites: int, network: str, bits: int, rounds: int) -> dict[str, float]:
    """Seconds of a site and of the coordinator in a round, without masks and with them."""
    torch.set_num_threads(1)
    plan = make_plan(network)
    initial = initial_tensors(plan, "3d_fullres", seed=0)
    names = [f"site_{n:04d}" for n in range(sites)]
    members = {name: Member(cases=5 + n % 20) for n, name in enumerate(names)}
    secure = SecureAggregation(bits=bits, clip=10.0 if bits == 32 else 0.0)
    training = Training(
        method="fedavg", rounds=rounds, public_rounds=0, max_update_ratio=0, secure=secure
    )
    federation = Federation(
        task=plan.task, sites={n: SiteSpec(folder=Path(n)) for n in names}, training=training
    )
    found: dict[str, float] = {"parameters": sum(t.numel() for t in initial.values())}
    weights = {}
    for kind in ("plain", "masked"):
        with tempfile.TemporaryDirectory() as folder:
            base = Path(folder)
            masking = {n: SiteMasking(n, base / n, federation, SitePolicy()) for n in names}
            engine = TimedSites(SimulatedSites(members, initial), masking)
            used = with_threshold(training, sites)
            used = used if kind == "masked" else replace(used, secure=None)
            run = Run(name="", folder=base / "run", plan=plan, training=used)
            begin = time.process_time()
            state = run_rounds(engine, run, initial, members, lambda record: None)
            whole = time.process_time() - begin
            weights[kind] = state.shared
            found[f"{kind}_site_s"] = engine.seconds / sites / rounds
            found[f"{kind}_rest_s"] = (whole - engine.seconds) / rounds
            found[f"{kind}_mib_sent"] = engine.bytes_sent / sites / rounds / 2**20
    difference = max(
        float((weights["plain"][n] - weights["masked"][n]).abs().max()) for n in initial
    )
    return {**found, "largest_difference": difference, **_training(network)}


def _training(network: str) -> dict[str, float]:
    """Seconds of a round's iterations, of one step of the network."""
    plan = make_plan(network)
    configuration = plan.configurations[0]
    model = plan_network(plan, configuration)
    images = torch.randn(configuration.batch, 1, *configuration.patch_vox)
    begin, steps = time.process_time(), 1
    for _ in range(steps):
        out = model(images)
        (out[0] if isinstance(out, (list, tuple)) else out).square().mean().backward()
    return {"training_s": (time.process_time() - begin) / steps * ITERATIONS}


def summary(found: Mapping[str, float]) -> str:
    """The overhead in words."""
    site = found["masked_site_s"] - found["plain_site_s"]
    rest = found["masked_rest_s"] - found["plain_rest_s"]
    share = (site + rest) / found["training_s"]
    return (
        f"masks add {site:.2f} s at a site and {rest:.2f} s at the coordinator to a round of "
        f"{found['training_s']:.0f} s of training: {share:.1%}"
    )


def protocol(sites: int, rounds: int) -> dict[str, float]:
    """Rounds of the protocol in which sites drop out at the worst moments; are all sums exact?"""
    rng = np.random.default_rng(0)
    names, threshold, exact = [f"site_{n:02d}" for n in range(sites)], usual_threshold(sites), 0
    begin = time.process_time()
    for number in range(rounds):
        lost = [str(name) for name in rng.permutation(names)[:LOST]]
        before, after = lost[: number % (LOST + 1)], lost[number % (LOST + 1) :]
        vectors = {n: rng.integers(0, 2**63, 32, dtype=np.uint64) for n in names}
        parties = {n: SiteSession.begin(str(number), n) for n in names}
        roster = {n: party.public for n, party in parties.items()}
        parties = {n: p.share(roster, threshold).masked_with(names) for n, p in parties.items()}
        survivors = [n for n in names if n not in before]
        total, revealed = np.zeros(32, np.uint64), {}
        for name in survivors:
            masked = vectors[name].copy()
            parties[name].mask_vector(masked)
            total += masked
            if name not in after:
                sealed = {sender: party.sealed[name] for sender, party in parties.items()}
                revealed[name] = parties[name].reveal(survivors, sealed)[1]
        Unmasking(
            session=str(number),
            threshold=threshold,
            roster=roster,
            partners=names,
            survivors=survivors,
        ).remove(total, revealed)
        exact += bool((total == np.sum([vectors[n] for n in survivors], axis=0)).all())
    seconds = (time.process_time() - begin) / rounds
    return {"sites": sites, "rounds": rounds, "exact": exact, "seconds_a_round": seconds}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sites", type=int, default=0, help="8; with --protocol 32")
    parser.add_argument("--network", choices=("tiny", "small"), default="small")
    parser.add_argument("--bits", type=int, choices=(32, 64), default=64)
    parser.add_argument("--rounds", type=int, default=0, help="2; with --protocol 200")
    parser.add_argument("--protocol", action="store_true", help="the protocol alone")
    options = parser.parse_args(argv)
    if options.protocol:
        print(json.dumps(protocol(options.sites or 32, options.rounds or 200), indent=1))
        return 0
    found = measure(options.sites or 8, options.network, options.bits, options.rounds or 2)
    print(json.dumps(found, indent=1))
    print(summary(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
