"""Feed damaged and hostile inputs to everything that reads what others wrote.

    python scripts/fuzz.py --inputs 20000 --seed 1 [--only messages,nifti] [--case 123]

Input number N depends on the seed and N alone, so `--case N` runs one again and shows its
traceback. Inputs run in forked workers: one that runs longer than 10 s, or ends its worker, is a
finding and does not end the fuzzer. A finding is whatever is neither accepted nor refused by a
FedNNUNetError. Exit code 1 with any.
"""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from fuzz_files import FILE_TARGETS
from fuzz_images import IMAGE_TARGETS
from fuzz_targets import MESSAGE_TARGETS, Target

from fednnunet.commands.cli import parse, run_command
from fednnunet.errors import FedNNUNetError, InputError

LIMIT_S = 10.0  # of processor time for one input
PATIENCE_S = 120.0  # of waiting for one that uses none, on a busy machine
MEMORY_BYTES = 3 << 30  # that an input may take on top of what a worker has at its start
TARGETS: dict[str, Target] = MESSAGE_TARGETS | FILE_TARGETS | IMAGE_TARGETS


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How many inputs, and which."""

    inputs: int = 20_000
    """number of inputs over all targets"""
    seed: int = 1
    """seed of all inputs"""
    workers: int = 2
    """processes"""
    only: tuple[str, ...] = ()
    """targets, e.g. messages,nifti; all, if not given"""
    case: int | None = None
    """run this one input here, and show its traceback"""
    report: Path | None = None
    """also write the figures here, as JSON"""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Finding:
    """What one input did; `kind` is traceback, hang or crash."""

    kind: str
    target: str
    what: str
    where: str


@dataclass(slots=True)
class _Worker:
    """A process and the inputs that it has: those from `at` in steps."""

    process: BaseProcess
    pipe: Connection
    at: int
    since: float = field(default_factory=time.monotonic)
    used_s: float = 0.0


def main(argv: Sequence[str] | None = None) -> int:
    """Fuzz; 1 with any finding."""
    options = parse(Options, argv, prog="fuzz.py", about=__doc__ or "")
    found: dict[int, Finding] = {}
    code = run_command(lambda: found.update(_fuzz(options)))
    return code or int(bool(found))


def _fuzz(options: Options) -> dict[int, Finding]:
    if unknown := set(options.only) - TARGETS.keys():
        raise InputError(f"no target {sorted(unknown)}", mend=f"choose from {', '.join(TARGETS)}")
    names = list(options.only or TARGETS)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        if options.case is not None:
            one = _try(options.case, options.seed, names, Path(folder), show=True)
            return {options.case: one} if one else {}
        found, done = _run_all(options, names, Path(folder))
    _tell(dataclasses.replace(options, inputs=done), names, found)
    return found


def _try(
    index: int, seed: int, names: Sequence[str], folder: Path, *, show: bool = False
) -> Finding | None:
    """Run one input; what it did, if anything that it should not."""
    name = names[index % len(names)]
    rng = random.Random(f"{seed}/{index}")
    try:
        TARGETS[name](rng, folder)
    except FedNNUNetError as error:
        str(error)
        if show:
            print(f"refused: {error}")
    except BaseException as error:  # noqa: BLE001 - whatever else ends a reader is a finding
        if show:
            traceback.print_exc()
        frames = traceback.extract_tb(error.__traceback__)
        own = [f for f in frames if "/fednnunet/" in f.filename] or frames[-1:]
        where = f"{Path(own[-1].filename).name}:{own[-1].lineno} {own[-1].name}"
        return Finding(
            kind="traceback", target=name, what=f"{type(error).__name__}: {error}"[:90], where=where
        )
    return None


def _serve(pipe: Connection, start: int, options: Options, names: list[str], folder: Path) -> None:
    """A worker's life: inputs from `start` in steps, one answer each."""
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("ignore")
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if os.path.exists("/proc") else 0
    limit = pages * os.sysconf("SC_PAGE_SIZE") + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    own = folder / f"worker{start % options.workers}"
    own.mkdir(exist_ok=True)
    for index in range(start, options.inputs, options.workers):
        pipe.send(_try(index, options.seed, names, own))
    pipe.close()
    os._exit(0)


def _run_all(options: Options, names: list[str], folder: Path) -> tuple[dict[int, Finding], int]:
    """What was found, and how many inputs were run."""

    def start(at: int) -> _Worker:
        context = multiprocessing.get_context("fork")
        here, there = context.Pipe(duplex=False)
        args = (there, at, options, names, folder)
        process = context.Process(target=_serve, args=args, daemon=True)
        process.start()
        there.close()
        return _Worker(process, here, at)

    found: dict[int, Finding] = {}
    active = [start(at) for at in range(min(options.workers, options.inputs))]
    try:
        _watch(active, start, options, names, found)
    except KeyboardInterrupt:
        done = min((worker.at for worker in active), default=options.inputs)
        print("ended early")
        return found, done
    finally:
        for worker in active:
            worker.process.kill()
    return found, options.inputs


def _watch(
    active: list[_Worker],
    start: Callable[[int], _Worker],
    options: Options,
    names: list[str],
    found: dict[int, Finding],
) -> None:
    """Take answers until every worker has done its inputs; one that ends too soon is replaced."""
    while active:
        wait([worker.pipe for worker in active], timeout=1.0)
        for worker in list(active):
            finding = _listen(worker, options, names, found)
            if finding is None:
                continue
            active.remove(worker)
            worker.pipe.close()
            if finding.kind:
                found[worker.at] = finding
                after = worker.at + options.workers
                if after < options.inputs:
                    active.append(start(after))


def _listen(
    worker: _Worker, options: Options, names: list[str], found: dict[int, Finding]
) -> Finding | None:
    """Take a worker's answers; a finding if it ended (of no kind: as it should) or was ended."""
    try:
        while worker.pipe.poll():
            if answer := worker.pipe.recv():
                found[worker.at] = answer
            worker.at += options.workers
            worker.since, worker.used_s = time.monotonic(), _processor_s(worker.process)
    except EOFError:
        worker.process.join()
        target = names[worker.at % len(names)]
        if worker.at >= options.inputs:
            return Finding(kind="", target="", what="", where="")
        return Finding(
            kind="crash", target=target, what=f"exit code {worker.process.exitcode}", where=""
        )
    waited = time.monotonic() - worker.since
    used = _processor_s(worker.process) - worker.used_s
    if waited < LIMIT_S or (used < LIMIT_S and waited < PATIENCE_S):
        return None
    worker.process.kill()
    worker.process.join()
    target = names[worker.at % len(names)]
    return Finding(kind="hang", target=target, what=f"more than {LIMIT_S:g} s", where="")


def _processor_s(process: BaseProcess) -> float:
    """Processor time that a process has used, all its threads together."""
    try:
        parts = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return 0.0
    return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


def _tell(options: Options, names: list[str], found: dict[int, Finding]) -> None:
    """Print the distinct findings, and the totals of each target."""
    kinds = ("traceback", "hang", "crash")
    print(f"{'target':<14} inputs " + " ".join(f"{kind:>10}" for kind in kinds))
    for place, name in enumerate(names):
        count = len(range(place, options.inputs, len(names)))
        numbers = Counter(f.kind for f in found.values() if f.target == name)
        print(f"{name:<14} {count:>6} " + " ".join(f"{numbers[kind]:>10}" for kind in kinds))
    distinct: dict[tuple[str, ...], list[int]] = {}
    for index, f in sorted(found.items()):
        key = (f.kind, f.target, f.what.partition(":")[0], f.where)
        distinct.setdefault(key, []).append(index)
    for (kind, target, what, where), cases in sorted(distinct.items(), key=lambda d: -len(d[1])):
        example = found[cases[0]].what
        print(f"{len(cases):>5} x {kind} in {target}: {what} at {where or '?'} ({example})")
        again = f"--only {','.join(options.only)} " if options.only else ""
        print(f"        again: --seed {options.seed} {again}--case {cases[0]}")
    total = Counter(f.kind for f in found.values())
    figures: dict[str, Any] = {"inputs": options.inputs, "seed": options.seed}
    figures |= {kind: total[kind] for kind in kinds}
    print(", ".join(f"{name}: {value}" for name, value in figures.items()))
    if options.report:
        options.report.write_text(json.dumps(figures) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
