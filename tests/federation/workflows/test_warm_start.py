"""A training that starts from the weights of a bundle, from its command line to its models."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fednnunet import records
from fednnunet.commands.train import main
from fednnunet.errors import InputError
from fednnunet.federation.given_start import FOLDER
from fednnunet.federation.site.approval import FILE, Approved
from fednnunet.federation.spec import Federation
from fednnunet.federation.workflows.warm_start import RECORD, Started, start_from
from fednnunet.inference.bundle import Bundle, join_experts, read_bundle, write_bundle
from fednnunet.planning.plan import read_plan
from fednnunet.training.initial import initial_tensors
from tests.end_to_end.tiny import TOML, make_federation, make_planned

SHORT = TOML.replace('"fedbn_head"', '"fedavg"').replace("public_rounds = 1", "public_rounds = 0")
NAME = "3d_fullres"


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A planned run folder, to be copied."""
    root = tmp_path_factory.mktemp("warm")
    make_planned(make_federation(root / "hospitals", toml=SHORT), root / "run")
    return root / "run"


@pytest.fixture
def run(planned: Path) -> Path:
    """A planned run folder beside the hospitals that it names."""
    copy = planned.with_name("copy")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(planned, copy)
    return copy


def a_bundle(run: Path, folder: Path, *, seed: int = 5) -> Bundle:
    """A bundle of the run's plan, with the first weights of another seed."""
    plan = read_plan(run / "plan.json")
    return write_bundle(
        folder,
        plan=plan,
        configuration=NAME,
        weights=initial_tensors(plan, NAME, seed=seed),
        note={"method": "made up"},
    )


def start(bundle: Bundle, run: Path) -> tuple[Federation, Started]:
    federation = records.read(Federation, run / "federation.json")
    return start_from(bundle, federation, read_plan(run / "plan.json"), run)


def test_a_start_is_named_approved_and_kept(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a_bundle(run, tmp_path / "bundle")
    assert main([str(run), "--from", str(tmp_path / "bundle")]) == 0
    assert "starts from given weights" in capsys.readouterr().out
    named = records.read(Federation, run / "federation.json").training.start
    started = records.read(Started, run / FOLDER / RECORD)
    assert started.digest == named and not started.remade
    for site in ("north", "south"):
        assert records.read(Approved, run / "sites" / site / FILE).start == named
    trained = read_bundle(run / "global").weights
    assert main([str(run)]) == 0  # goes on without the bundle
    assert all(read_bundle(run / "global").weights[n].equal(t) for n, t in trained.items())
    other = a_bundle(run, tmp_path / "other", seed=6)
    with pytest.raises(InputError, match="gives first weights with the SHA-256"):
        start(other, run)


def test_a_start_from_the_own_first_weights_changes_nothing(run: Path, tmp_path: Path) -> None:
    """The same training whether its first weights are made at each site or are sent to it."""
    same = a_bundle(run, tmp_path / "bundle", seed=0)
    plain = shutil.copytree(run, run.with_name("plain"), dirs_exist_ok=True)
    start(same, run)
    for folder in (run, plain):
        assert main([str(folder)]) == 0
    one, two = (load_file(each / "global" / "weights.safetensors") for each in (run, plain))
    assert all(torch.equal(one[name], two[name]) for name in one)
    with pytest.raises(InputError, match="rounds of another training"):
        start(a_bundle(run, tmp_path / "late"), plain)
    assert not (plain / FOLDER).exists()
    shutil.rmtree(plain)


def test_heads_of_other_labels_are_made_anew_and_said(run: Path, tmp_path: Path) -> None:
    bundle = a_bundle(run, tmp_path / "bundle")
    labels = ("background", *(f"other {i}" for i in range(len(bundle.plan.task.labels) - 1)))
    task = dataclasses.replace(bundle.plan.task, labels=labels)
    other = dataclasses.replace(bundle, plan=dataclasses.replace(bundle.plan, task=task))
    _, started = start(other, run)
    assert started.remade and all(name.startswith("heads.") for name in started.remade)
    assert started.remade[0] in started.in_words()


def test_what_cannot_be_a_start_leaves_no_trace(run: Path, tmp_path: Path) -> None:
    bundle = a_bundle(run, tmp_path / "bundle")
    before = (run / "federation.json").read_bytes()
    experts = dataclasses.replace(bundle, weights=join_experts({"a": bundle.weights}))
    with pytest.raises(InputError, match="bundle of experts"):
        start(experts, run)
    cut = {n: t for n, t in bundle.weights.items() if not n.startswith("encoder.1.")}
    with pytest.raises(InputError, match="the encoder of the given weights"):
        start(dataclasses.replace(bundle, weights=cut), run)
    assert (run / "federation.json").read_bytes() == before and not (run / FOLDER).exists()
