"""What is packed for a bare machine: the checkout as it lies here, prepared cases, a starter."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from fednnunet.planning.plan import read_plan
from fednnunet.preprocess.store import Store

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def packing(script, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return script("pack_cuda")


def test_the_checkout_holds_what_git_tracks(tmp_path, packing) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout of git")
    packing.copy_checkout(tmp_path)
    assert (tmp_path / "scripts" / "check_cuda.py").is_file()
    assert (tmp_path / "fednnunet" / "training" / "step.py").is_file()
    assert not (tmp_path / ".git").exists() and not list(tmp_path.rglob("__pycache__"))


def test_missing_packages_have_a_version_that_the_tests_pass_with(packing) -> None:
    pinned = (ROOT / "constraints.txt").read_text()
    assert all(f"\n{name}==" in pinned for name in packing.MISSING)


def test_one_store_serves_both_plans(tmp_path, packing, phantoms) -> None:
    phantoms.make_federation(tmp_path / "raw", train=5, test=0)
    for header in (tmp_path / "raw").glob("*/dataset.json"):  # named as in the hippocampus task
        text = header.read_text().replace("organ", "anterior").replace("nodule", "posterior")
        header.write_text(text)
    folder = tmp_path / "hippocampus"
    packing.prepare_hippocampus(tmp_path / "raw", folder, workers=1)
    split = json.loads((folder / "split.json").read_text())
    names = [name for part in split["sites"].values() for name in part] + split["held_out"]
    assert sorted(names) == sorted(Store.open(folder / "prepared").names)
    assert not set(split["held_out"]) & set(split["sites"]["north"])
    plans = [read_plan(folder / f"{planner}.json") for planner in packing.PLANNERS]
    assert len({plan.configuration("3d_fullres").spacing_mm for plan in plans}) == 1


def test_the_starter_is_a_shell_script(tmp_path, packing) -> None:
    path = tmp_path / "run.sh"
    path.write_text(packing.RUN)
    subprocess.run(["sh", "-n", str(path)], check=True)
