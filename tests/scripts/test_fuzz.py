"""A short run of the fuzzer: nothing but what is accepted or refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT


def fuzz(*arguments: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "fuzz.py"), *arguments],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.timeout(900)  # of waiting; about 50 s of processor time
def test_two_thousand_inputs_leave_nothing_but_refusals(tmp_path):
    report = tmp_path / "report.json"
    done = fuzz("--inputs", "2000", "--seed", "2", "--report", str(report))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(report.read_text())
    assert (found["traceback"], found["hang"], found["crash"]) == (0, 0, 0)


def test_what_is_wrong_is_found_counted_and_does_not_end_the_run(tmp_path):
    program, report = tmp_path / "run.py", tmp_path / "report.json"
    program.write_text(
        "import os, sys\n"
        f"sys.path.insert(0, {str(ROOT / 'scripts')!r})\n"
        "import fuzz\n"
        "def fail(rng, folder):\n"
        "    raise KeyError(1)\n"
        "def die(rng, folder):\n"
        "    os.abort()\n"
        "def wait(rng, folder):\n"
        "    while True: pass\n"
        "fuzz.TARGETS = {'a': fail, 'b': die, 'c': wait, 'd': lambda rng, folder: None}\n"
        "fuzz.LIMIT_S = 0.2\n"
        "raise SystemExit(fuzz.main(sys.argv[1:]))\n"
    )
    done = subprocess.run(
        [sys.executable, str(program), "--inputs", "8", "--report", str(report)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    found = json.loads(report.read_text())
    assert (found["traceback"], found["crash"], found["hang"]) == (2, 2, 2)
    assert "again: --seed 1" in done.stdout
