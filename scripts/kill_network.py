"""Runs of a small federation over a network, each with one fault at a random moment.

    python scripts/kill_network.py -o OUT --runs 50

A fault is that of one process of a site, of a site's machine (all its processes at once), of the
coordinator, or a cut of the network between a site and the coordinator, where a proxy stands. What
happens in a run follows from its number and the seed. Each run must end, with the weights that one
process gives for the recorded participants of each round, and lose no more time than it may. A run
that is done is kept in OUT/0007.json and not repeated; the same command goes on after a stop.
"""

from __future__ import annotations

import random
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import torch

from fednnunet import records
from fednnunet.commands.cli import Opt, parse, run_command
from fednnunet.federation.coordinator.history import load_records

sys.path.insert(0, str(Path(__file__).parent))
from faulty_network import (
    DEADLINE_S,
    GRACE_S,
    FaultyNetwork,
    Template,
    make_template,
    open_run,
)
from local_network import command_of, descendants, kill_all
from replay_rounds import replay

KINDS = ("process", "machine", "coordinator", "network")
SITE_LIMIT_S, COORDINATOR_LIMIT_S = DEADLINE_S + 10, 120.0
_START_S, _END_S = 900.0, 1800.0  # of a run that hangs: a busy machine is no fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of the runs."""

    output: Annotated[Path, Opt(short="-o")]
    """folder for the federation and the results"""
    runs: int = 50
    """number of runs; those that are in the folder already count"""
    first: int = 0
    """number of the first run"""
    rounds: int = 12
    """rounds of each training"""
    seed: int = 0
    """the same seed gives the same faults"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What happens in a run: `delay_s` after round `after` is recorded, for `away_s` seconds.

    `which` chooses among the processes of a site, or says that the coordinator's first process
    alone is killed (0) or all of them (1).
    """

    kind: Literal["process", "machine", "coordinator", "network"]
    site: str
    after: int
    delay_s: float
    away_s: float
    which: int = 0
    silent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a run. `lost_s` is what the fault cost beyond a usual round.

    For the coordinator that is the time from the fault to the next recorded round; for a site, that
    of the longest round after the fault. `missed` counts the site's missed rounds. `differs` names
    the checkpoints that are not those of one process, `problem` says why a run did not end.
    """

    number: int
    fault: Fault
    victim: str = ""
    rounds: int = 0
    seconds: float = 0.0
    usual_s: float = 0.0
    lost_s: float = 0.0
    missed: int = 0
    came_back: bool = False
    differs: tuple[str, ...] = ()
    problem: str = ""

    @property
    def passed(self) -> bool:
        """Whether the run ended in time with the right weights."""
        limit = COORDINATOR_LIMIT_S if self.fault.kind == "coordinator" else SITE_LIMIT_S
        return not (self.problem or self.differs) and self.lost_s <= limit


def main(argv: Sequence[str] | None = None) -> int:
    """Do the runs that are not there yet, and print what came of all."""
    options = parse(Options, argv, prog="kill_network", about=(__doc__ or "").split("\n")[0])
    return run_command(lambda: _runs(options), private=True)


def _runs(options: Options) -> None:
    torch.set_num_threads(1)  # as the sites: sums of several threads differ in their last bits
    template = make_template(options.output / "template", rounds=options.rounds)
    found = []
    for number in range(options.first, options.first + options.runs):
        path = options.output / f"{number:04d}.json"
        if not path.exists():
            fault = fault_of(number, options.seed, template.sites, options.rounds)
            records.write(one_run(number, fault, template, options.output / "run"), path)
        found.append(records.read(Outcome, path))
        print(line_of(found[-1]), flush=True)
    print(summary(found))


def fault_of(number: int, seed: int, sites: Sequence[str], rounds: int) -> Fault:
    """The fault of a run: each kind in turn, all else at random."""
    chance = random.Random(f"{seed}/{number}")
    kind: Literal["process", "machine", "coordinator", "network"] = KINDS[number % len(KINDS)]  # type: ignore[assignment]
    return Fault(
        kind=kind,
        site=chance.choice(sorted(sites)),
        after=chance.randint(1, max(rounds // 3, 1)),
        delay_s=round(chance.uniform(0, 3), 2),
        away_s=round(chance.uniform(1, 20), 1),
        which=chance.randrange(12),
        silent=chance.random() < 0.5,
    )


def one_run(number: int, fault: Fault, template: Template, folder: Path) -> Outcome:
    """Do one run in `folder`, which is removed where the run passes."""
    shutil.rmtree(folder, ignore_errors=True)
    begin = time.monotonic()
    run, outcome = folder / "run", Outcome(number=number, fault=fault)
    with open_run(template, folder) as network:
        hit = 0.0
        try:
            network.start_coordinator(run)
            for site in template.sites:
                network.start_site(site, "--once")
            wanted = run / "rounds" / f"{fault.after:04d}.json"
            network.wait_for(wanted.exists, _START_S, "the first rounds")
            time.sleep(fault.delay_s)
            hit = time.time()
            outcome = replace(outcome, victim=_strike(network, fault, run))
            code = network.wait("coordinator", _END_S)
            if code:
                outcome = replace(outcome, problem=f"exit {code}: {network.tail('coordinator')}")
        except (TimeoutError, OSError) as error:
            outcome = replace(outcome, problem=str(error))
    outcome = _measured(replace(outcome, seconds=time.monotonic() - begin), run, hit)
    if not outcome.problem:
        outcome = replace(outcome, differs=replay(template.planned, run, folder / "replayed"))
    if outcome.passed:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        kept = folder.with_name(f"failed_{number:04d}")
        shutil.rmtree(kept, ignore_errors=True)
        folder.rename(kept)
    return outcome


def _strike(network: FaultyNetwork, fault: Fault, run: Path) -> str:
    """Let the fault happen, and mend it as a person or systemd would; returns what was hit."""
    match fault.kind:
        case "process":
            own = descendants(network.processes[fault.site].pid)
            victim = own[fault.which % len(own)]
            what = f"{command_of(victim)} of {fault.site}"
            kill_all([victim])
            if victim == own[0]:  # systemd ends what is left, and starts it anew
                kill_all(own)
                network.kill(fault.site)
                time.sleep(fault.away_s)
                network.start_site(fault.site, "--once")
            return what
        case "machine":
            network.kill(fault.site)
            time.sleep(fault.away_s)
            network.start_site(fault.site, "--once")
            return f"all of {fault.site}"
        case "coordinator":
            if fault.which % 2:
                network.kill("coordinator")
            else:
                kill_all([network.processes["coordinator"].pid])
                network.processes["coordinator"].wait()
            network.start_coordinator(run)
            return "all of the coordinator" if fault.which % 2 else "the coordinator's command"
        case "network":
            proxy = network.proxies[fault.site]
            proxy.cut(silent=fault.silent)
            time.sleep(fault.away_s)
            proxy.mend()
            return f"the network of {fault.site}, {'in silence' if fault.silent else 'refused'}"


def _measured(outcome: Outcome, run: Path, hit: float) -> Outcome:
    """The figures that the recorded rounds give."""
    found = load_records(run / "rounds")
    times = {r.round: (run / "rounds" / f"{r.round:04d}.json").stat().st_mtime for r in found}
    before = [r.seconds for r in found if times[r.round] < hit][1:]  # the first one starts all
    after = [r for r in found if times[r.round] >= hit]
    if not hit or not after:
        return outcome
    usual = statistics.median(before or [r.seconds for r in found])
    site, missed = outcome.fault.site, [outcome.fault.site not in r.sites for r in after]
    if outcome.fault.kind == "coordinator":
        lost = min(times[r.round] for r in after) - hit
    else:
        lost = max(r.seconds for r in after)
    return replace(
        outcome,
        rounds=len(found),
        usual_s=usual,
        lost_s=max(lost - usual, 0.0),
        missed=sum(missed),
        came_back=site in after[-1].sites,
    )


def line_of(outcome: Outcome) -> str:
    """A run in one line."""
    end = "ok" if outcome.passed else "FAILED"
    if outcome.problem:
        end += f": {' '.join(outcome.problem.split())[-300:]}"
    if outcome.differs:
        end += f": other weights in {', '.join(outcome.differs)}"
    return (
        f"{outcome.number:4d} {outcome.fault.kind:11s} {outcome.victim}: lost "
        f"{outcome.lost_s:.1f} s beyond {outcome.usual_s:.1f} s, {outcome.missed} of "
        f"{outcome.rounds} rounds without {outcome.fault.site}, "
        f"{'back' if outcome.came_back else 'not back'} at the end, {outcome.seconds:.0f} s: {end}"
    )


def summary(found: Sequence[Outcome]) -> str:
    """How many runs passed, and the longest loss of each kind of fault."""
    lines = [f"{sum(o.passed for o in found)} of {len(found)} runs passed"]
    for kind in KINDS:
        own = [outcome for outcome in found if outcome.fault.kind == kind]
        if own:
            lost = sorted(outcome.lost_s for outcome in own)
            limit = COORDINATOR_LIMIT_S if kind == "coordinator" else SITE_LIMIT_S
            lines.append(
                f"  {kind}: {len(own)} runs, lost at most {lost[-1]:.1f} s (median "
                f"{statistics.median(lost):.1f} s, allowed {limit:.0f} s), "
                f"{sum(o.came_back for o in own)} with the site in the last round"
            )
    lines.append(f"deadline {DEADLINE_S:.0f} s, grace after the quorum {GRACE_S:.0f} s")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
