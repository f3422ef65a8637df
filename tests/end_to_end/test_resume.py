"""Training that is interrupted anywhere ends, by the same command, with the same weights."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fednnunet.commands import train
from fednnunet.federation.site.site import Site
from tests.end_to_end.interruption import Interruption
from tests.end_to_end.tiny import no_pictures

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys, torch
torch.set_num_threads(1)
from fednnunet.commands.train import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(autouse=True)
def _no_report():
    """Pictures and report come after the weights; drawing them each time would take longest."""
    with no_pictures():
        yield


def weights(run):
    """Every bundle's weights, global and personal: exactly these must be reached again."""
    paths = [run / "global", *(run / "sites" / site / "personal" for site in ("north", "south"))]
    return {path.relative_to(run): load_file(path / "weights.safetensors") for path in paths}


def assert_same(one, two):
    assert one.keys() == two.keys()
    for bundle in one:
        assert one[bundle].keys() == two[bundle].keys()
        unlike = [n for n in one[bundle] if not torch.equal(one[bundle][n], two[bundle][n])]
        assert unlike == [], bundle


def answers_interrupted(patch, at, after):
    hook = Interruption(Site.answer, at, after=after)
    patch.setattr(Site, "answer", lambda site, data: hook(site, data))
    return hook


def files_interrupted(patch, at, after):
    hook = Interruption(os.replace, at, after=after)
    patch.setattr(os, "replace", hook)
    return hook


def steps_interrupted(patch, at, after):
    hook = Interruption(torch.optim.AdamW.step, at, after=after)
    patch.setattr(torch.optim.AdamW, "step", lambda *a, **k: hook(*a, **k))
    return hook


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("interrupt", "most"),
    [(answers_interrupted, 8), (files_interrupted, 30), (steps_interrupted, 7)],
    ids=["a reply", "a file", "a step"],
)
def test_interrupted_at_random_points_it_ends_with_the_same_weights(
    interrupt, most, after, trained, planned, tmp_path, monkeypatch
):
    run = Path(shutil.copytree(planned, tmp_path / "run"))
    rng = random.Random(f"{interrupt.__name__} {after}")
    interruptions = 0
    for at in [rng.randint(1, most) for _ in range(3)]:
        with monkeypatch.context() as patch:
            hook = interrupt(patch, at, after)
            code = train.main([str(run)])
        if code == 130:
            interruptions += 1
        assert code == (130 if hook.calls >= at else 0)
    assert interruptions >= 1
    assert train.main([str(run)]) == 0
    assert_same(weights(run), weights(trained.run))


def test_killed_outright_it_ends_with_the_same_weights(trained, planned, tmp_path):
    run = Path(shutil.copytree(planned, tmp_path / "run"))
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(run)], cwd=ROOT, stdout=subprocess.DEVNULL
    )
    state = run / "sites" / "north" / "state"
    deadline = time.monotonic() + 60
    while process.poll() is None and not state.exists() and time.monotonic() < deadline:
        time.sleep(0.002)
    process.kill()
    assert process.wait() < 0, "training ended before it could be killed"
    assert train.main([str(run)]) == 0
    assert_same(weights(run), weights(trained.run))


def test_a_finished_training_is_left_as_it_is(trained, copy_of):
    run = copy_of(trained.run)
    rounds = {path.name: path.read_bytes() for path in (run / "rounds").iterdir()}
    assert train.main([str(run)]) == 0
    assert {path.name: path.read_bytes() for path in (run / "rounds").iterdir()} == rounds
    assert_same(weights(run), weights(trained.run))


def test_the_run_says_its_threads_and_keeps_them(trained, copy_of, capsys):
    run = copy_of(trained.run)
    assert '"count": 1' in (run / "threads.json").read_text()
    (run / "threads.json").write_text('{"count": 2, "reason": "of the test"}')
    assert train.main([str(run)]) == 0
    assert "2 CPU threads: of the test" in capsys.readouterr().out
    assert torch.get_num_threads() == 1


def test_another_seed_ends_elsewhere(trained, planned, tmp_path):
    """So that equal weights above mean something."""
    run = Path(shutil.copytree(planned, tmp_path / "run"))
    text = (run / "federation.json").read_text()
    assert '"seed": 0' in text
    (run / "federation.json").write_text(text.replace('"seed": 0', '"seed": 1'))
    assert train.main([str(run)]) == 0
    with pytest.raises(AssertionError):
        assert_same(weights(run), weights(trained.run))
