"""Everything that a GPU must show, in one command: python scripts/check_cuda.py -o OUT.

Parts run in order of importance in a process of their own, which is watched: one that fails, breaks
the device, crashes or takes too long is reported, and the rest goes on. `OUT/results.json` and
`OUT/results.md` are written after each part. What does not fit into `--minutes` is left out and
said to be. On a CPU everything is tiny, and shows only that the program runs.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from check_cuda_report import PARTS, Book, Part, Result  # noqa: E402

from fednnunet.commands.cli import Opt, parse, run_command  # noqa: E402
from fednnunet.errors import InputError  # noqa: E402

PROGRAM = Path(__file__).resolve()
SPARE = 5.0  # seconds left for the last results
BROKEN = 3  # exit code of a process whose device answers no more


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of the check."""

    output: Annotated[Path, Opt(short="-o")]
    """folder for work and results"""
    minutes: float = 8.0
    """time for all parts together"""
    device: str = "auto"
    """auto, cpu, cuda, cuda:0"""
    data: Path | None = None
    """folder of prepared cases (none: blobs are made)"""
    parts: tuple[str, ...] = ()
    """some of the parts, by name (none: all)"""
    worker: bool = False
    """run the parts here, unwatched"""

    @property
    def chosen(self) -> tuple[Part, ...]:
        """The parts to run; raises InputError for a name that is none."""
        known = {part.name: part for part in PARTS}
        unknown = [name for name in self.parts if name not in known]
        if unknown:
            raise InputError(f"no part {unknown[0]!r}", mend=f"choose from: {', '.join(known)}")
        return tuple(known[name] for name in self.parts or known)


def watch(options: Options) -> None:
    """Run the parts in a process; after a crash, go on with the rest in another."""
    end = time.monotonic() + 60 * options.minutes - SPARE
    book, begun = Book(options.output), time.monotonic()
    (options.output / "results.json").unlink(missing_ok=True)
    left = list(options.chosen)
    while left and time.monotonic() < end:
        fault = _in_process(options, book, left, end)
        done, before = book.read()["parts"], len(left)
        left = [part for part in left if part.name not in done]
        if len(left) == before and not fault:
            fault = "the process ended without a result"
        current = book.running()
        if left and fault:
            hit = next((part for part in left if current and part.name == current[0]), left[0])
            book.add(hit, Result(state="failed", error=fault))
            left.remove(hit)
    for part in left:
        book.add(part, Result(state="skipped", error="no time was left"))
    print((options.output / "results.md").read_text())
    print(f"{time.monotonic() - begun:.0f} s in all")


def _in_process(options: Options, book: Book, left: Sequence[Part], end: float) -> str:
    """Run parts until the process ends; what went wrong, or nothing."""
    command = [sys.executable, str(PROGRAM), "--worker", "-o", str(options.output)]
    command += ["--parts", ",".join(part.name for part in left), "--device", options.device]
    command += ["--minutes", str(max(end - time.monotonic(), 0.0) / 60)]
    command += ["--data", str(options.data)] if options.data else []
    limits = {part.name: part.limit for part in left}
    book.mark(None)
    log = options.output / "log.txt"
    before = log.stat().st_size if log.exists() else 0
    with log.open("a") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, env=_environment())
        late = ""
        while process.poll() is None and not late:
            time.sleep(0.2)
            current = book.running()
            if current and time.time() - current[1] > limits.get(current[0], 600):
                late = f"it took longer than {limits[current[0]]:.0f} s and was ended"
            if time.monotonic() > end:
                late = "the time for all parts was over"
        if late:
            process.kill()
            process.wait()
            return late
    if process.returncode in (0, BROKEN):
        return ""
    said = log.read_text(errors="replace")[before:].strip().splitlines()[-20:]
    return "\n".join([*said, f"the process ended with code {process.returncode}"])


def _environment() -> dict[str, str]:
    """This environment, in which processes and theirs find this checkout before all else."""
    path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    found = os.pathsep.join(filter(None, (str(HERE), str(HERE.parent), *path)))
    steady = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}  # for the deterministic mode
    return os.environ | steady | {"PYTHONPATH": found}


def work(options: Options) -> None:
    """Run parts in this process, one after another."""
    end = time.monotonic() + 60 * options.minutes
    book = Book(options.output)
    from check_cuda_bench import Bench, healthy

    bench = Bench(folder=options.output, device=options.device, data=options.data)
    book.describe(bench.environment())
    for part in options.chosen:
        left = end - time.monotonic()
        if bench.gpu and left < part.seconds:
            book.add(part, Result(state="skipped", error=f"{left:.0f} s were left"))
            continue
        book.mark(part)
        result = Result()
        begin = time.monotonic()
        try:
            module, name = part.function.split(":")
            getattr(importlib.import_module(module), name)(bench, result)
        except Exception:  # noqa: BLE001 - whatever it is, it is reported and the rest goes on
            result.state, result.error = "failed", traceback.format_exc()
        result.seconds = round(time.monotonic() - begin, 1)
        book.add(part, result)
        print(f"{part.name}: {result.state}, {result.seconds} s", flush=True)
        if not healthy(bench):
            os._exit(BROKEN)


def main(argv: Sequence[str] | None = None) -> int:
    """Watch, or be watched."""
    options = parse(Options, argv, prog="check_cuda.py", about="What a GPU must show, at once.")
    return run_command(lambda: work(options) if options.worker else watch(options))


if __name__ == "__main__":
    sys.exit(main())
