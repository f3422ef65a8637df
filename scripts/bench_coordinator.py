"""Memory and rounds a second of the coordinator for many simulated sites.

    python scripts/bench_coordinator.py --sites 4,100,1000
    python scripts/bench_coordinator.py --network tiny --sites 200 --rounds 5

Each site's reply is made when the coordinator asks for it, so that the memory measured is the
coordinator's: the state, the sums, and the reply that has just come. Each number of sites is run in
a process of its own, so that peaks do not mix. What is measured is the coordinator alone, with no
training and no wire.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch

from fednnunet.federation.coordinator.engine import Answer
from fednnunet.federation.coordinator.rounds import run_rounds
from fednnunet.federation.coordinator.run import Run
from fednnunet.federation.membership import Member
from fednnunet.federation.methods.catalogue import METHODS, PRESETS
from fednnunet.federation.spec import Training
from fednnunet.federation.wire.extras import join, split
from fednnunet.federation.wire.messages import Message, TrainInvite, TrainReply
from fednnunet.planning.plan import Architecture, Configuration, Intensity, Plan, Stage
from fednnunet.task import Task
from fednnunet.training.initial import initial_tensors

FEATURES = {"tiny": (4, 8), "small": (32, 64, 128, 256)}  # 7 thousand, 5.6 million parameters


def make_plan(network: str) -> Plan:
    """A plan with one of the networks of `FEATURES`."""
    features_of = FEATURES[network]
    stages = tuple(
        Stage(
            features=features,
            kernel=(3, 3, 3),
            stride=(2, 2, 2) if depth else (1, 1, 1),
            convs=2,
            decoder_convs=0 if depth == len(features_of) - 1 else 2,
        )
        for depth, features in enumerate(features_of)
    )
    configuration = Configuration(
        name="3d_fullres",
        spacing_mm=(1.0, 1.0, 1.0),
        patch_vox=(64, 64, 64),
        batch=2,
        median_shape_vox=(64.0, 64.0, 64.0),
        normalisation=("zscore",),
        use_mask=(False,),
        architecture=Architecture(kind="plain", stages=stages),
        batch_dice=False,
    )
    intensity = Intensity(
        mean=0, median=0, std=1, min=-1, max=1, percentile_00_5=-1, percentile_99_5=1
    )
    return Plan(
        task=Task(name="bench", channels=("MRI",), labels=("background", "organ")),
        planner="plain",
        configurations=(configuration,),
        intensity=(intensity,),
        cases=6,
    )


class SimulatedSites:
    """An engine whose sites move every tensor by a number of their own."""

    def __init__(self, names: Sequence[str], initial: Mapping[str, torch.Tensor]) -> None:
        self.sites = tuple(names)
        self._initial = initial

    def ask(self, invites: Mapping[str, Message], *_: object) -> Iterator[Answer]:
        """One reply after the other, in an order that is not that of the names."""
        for number, (site, invite) in enumerate(reversed(list(invites.items()))):
            assert isinstance(invite, TrainInvite)
            method, step = METHODS[invite.method], 1e-3 * (number + 1)
            tensors = {name: t + step for name, t in split(invite.tensors)[0].items()}
            extras = {n: t + step for n, t in method.extras_like(self._initial).items()}
            yield Answer(site=site, reply=_reply(join(tensors, extras), number, invite))
            del tensors, extras


def _reply(tensors: Mapping[str, torch.Tensor], number: int, invite: TrainInvite) -> TrainReply:
    return TrainReply(
        tensors=tensors,
        round=invite.round,
        cases=5 + number % 20,
        loss=0.1,
        seconds=1.0,
        wait_share=0.0,
        iterations=invite.iterations,
    )


def measure(sites: int, method: str, network: str, rounds: int) -> dict[str, float]:
    """Rounds of so many sites: peak and growth of this process in MiB, seconds a round and reply.

    `model_mib` is the size of the network's tensors, of which the state is one copy.
    """
    torch.set_num_threads(1)
    plan = make_plan(network)
    initial = initial_tensors(plan, "3d_fullres", seed=0)
    members = {f"site_{number:04d}": Member(cases=5) for number in range(sites)}
    training = Training(method=PRESETS[method], rounds=rounds, public_rounds=0)
    before, begin = _peak_mib(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        run = Run(name="", folder=Path(folder), plan=plan, training=training)
        engine = SimulatedSites(tuple(members), initial)
        run_rounds(engine, run, initial, members, lambda record: None)
    seconds = (time.perf_counter() - begin) / rounds
    peak = _peak_mib()
    return {
        "model_mib": sum(t.numel() * t.element_size() for t in initial.values()) / 2**20,
        "peak_mib": peak,
        "growth_mib": peak - before,
        "round_s": seconds,
        "reply_s": seconds / sites,
    }


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(argv: Sequence[str] | None = None) -> int:
    """Print peak memory for each number of sites, and its ratio to that of the fewest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", default="4,100,1000", help="numbers of sites, fewest first")
    parser.add_argument("--method", default="fedavg", choices=list(PRESETS))
    parser.add_argument("--network", default="small", choices=list(FEATURES))
    parser.add_argument("--rounds", type=int, default=1, help="rounds of each number of sites")
    parser.add_argument("--one", type=int, help="measure so many sites in this process, as JSON")
    options = parser.parse_args(argv)
    if options.one:
        print(json.dumps(measure(options.one, options.method, options.network, options.rounds)))
        return 0
    print(f"{options.method}: needs = {METHODS[options.method].merge.needs}")
    first: dict[str, float] = {}
    for sites in map(int, options.sites.split(",")):
        command = [sys.executable, __file__, "--one", str(sites), "--method", options.method]
        command += ["--network", options.network, "--rounds", str(options.rounds)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found = json.loads(done.stdout)
        first = first or found
        print(
            f"{sites:5d} sites: peak {found['peak_mib']:6.0f} MiB "
            f"({found['peak_mib'] / first['peak_mib']:.2f}x), of which the round "
            f"{found['growth_mib']:6.0f} MiB, {found['growth_mib'] / found['model_mib']:.1f} x the "
            f"model; {1 / found['round_s']:.2f} rounds a second, "
            f"{1000 * found['reply_s']:.1f} ms a reply"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
