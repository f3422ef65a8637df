"""The check for GPUs runs here too, tiny and on the CPU, so that it cannot rot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Training and prediction from prepared cases, on a machine that has no reader of images.
BLOCKED = """
import sys
for name in ("SimpleITK", "nibabel", "pydicom", "highdicom", "batchgenerators", "acvl_utils"):
    sys.modules[name] = None
sys.path[:0] = [{scripts!r}, {root!r}]
from check_cuda import main
sys.exit(main(sys.argv[1:]))
"""


def run(output: Path, *parts: str) -> dict:
    """The parts' results, each of which ran in one process without readers of images."""
    program = BLOCKED.format(scripts=str(ROOT / "scripts"), root=str(ROOT))
    command = [sys.executable, "-c", program, "-o", str(output), "--worker", "--device", "cpu"]
    path = os.pathsep.join((str(ROOT / "scripts"), str(ROOT)))
    done = subprocess.run(
        [*command, "--parts", ",".join(parts)],
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads((output / "results.json").read_text())["parts"]


def test_every_part_runs_on_a_cpu_and_needs_no_reader_of_images(tmp_path, script) -> None:
    names = [part.name for part in script("check_cuda_report").PARTS]
    found = run(tmp_path, *names)
    assert list(found) == names
    assert not {name: part["error"] for name, part in found.items() if part["state"] == "failed"}
    measured = {"waiting for data", "iterations a second, times the reference's"}
    missed = [
        check["what"]
        for part in found.values()
        for check in part["checks"]
        if not check["ok"] and check["what"] not in measured
    ]
    assert not missed
    page = (tmp_path / "results.md").read_text()
    assert all(part["title"] in page for part in found.values())


@pytest.fixture
def check(script: Callable[[str], ModuleType], monkeypatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return script("check_cuda")


def part_of(check: ModuleType, name: str, function: str, limit: float = 30.0):
    return check.Part(name, f"part {name}", f"faulty_parts:{function}", 0.0, limit)


def test_a_part_that_crashes_or_hangs_is_reported_and_the_rest_goes_on(
    tmp_path, check, monkeypatch, capfd
) -> None:
    (tmp_path / "faulty_parts.py").write_text(
        "import os, time\n"
        "def crash(bench, result):\n    os._exit(11)\n"
        "def hang(bench, result):\n    time.sleep(60)\n"
        "def wrong(bench, result):\n    raise ValueError('a mistake')\n"
        "def right(bench, result):\n    result.check('a figure', 1.0, most=2.0)\n"
    )
    (tmp_path / "check_cuda_bench.py").write_text(  # without torch, which takes long to import
        "class Bench:\n    gpu = False\n    def __init__(self, **settings):\n        pass\n"
        "    def environment(self):\n        return {'device': 'none'}\n"
        "def healthy(bench):\n    return True\n"
    )
    parts = (
        part_of(check, "a", "wrong"),
        part_of(check, "b", "crash"),
        part_of(check, "c", "hang", limit=0.5),
        part_of(check, "d", "right"),
    )
    starter = tmp_path / "starter.py"
    starter.write_text(
        f"import sys\nsys.path[:0] = [{str(tmp_path)!r}, {str(ROOT / 'scripts')!r}]\n"
        "import check_cuda_bench, check_cuda\n"
        f"check_cuda.PARTS = tuple(check_cuda.Part(*p) for p in {list(map(p_as_tuple, parts))!r})\n"
        "sys.exit(check_cuda.main())\n"
    )
    monkeypatch.setattr(check, "PARTS", parts)
    monkeypatch.setattr(check, "PROGRAM", starter)
    assert check.main(["-o", str(tmp_path / "out"), "--device", "cpu", "--minutes", "2"]) == 0
    found = json.loads((tmp_path / "out" / "results.json").read_text())["parts"]
    states = {name: part["state"] for name, part in found.items()}
    assert states == {"a": "failed", "b": "failed", "c": "failed", "d": "passed"}
    assert "a mistake" in found["a"]["error"] and "code 11" in found["b"]["error"]
    assert "longer than" in found["c"]["error"]


def p_as_tuple(part) -> tuple:
    return (part.name, part.title, part.function, part.seconds, part.limit)


def test_what_has_no_time_is_left_out_and_said_to_be(tmp_path, check, capfd) -> None:
    assert check.main(["-o", str(tmp_path), "--minutes", "0", "--parts", "numbers,dice"]) == 0
    found = json.loads((tmp_path / "results.json").read_text())["parts"]
    assert [part["state"] for part in found.values()] == ["skipped", "skipped"]
    assert "no time" in capfd.readouterr().out


def test_an_unknown_part_is_named(tmp_path, check, capfd) -> None:
    assert check.main(["-o", str(tmp_path), "--parts", "speeed"]) == 2
    assert "speeed" in capfd.readouterr().err


def test_a_figure_that_is_no_number_is_not_met(check) -> None:
    result = check.Result()
    result.check("a figure", float("nan"), most=1.0)
    assert result.state == "missed"
