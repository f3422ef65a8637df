"""Methods whose parts lie in several layers, by the commands: FedDG, APFL, IOP-FL."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from fednnunet.commands import predict, train
from fednnunet.federation.wire import chain
from fednnunet.federation.workflows.train import SCORES
from fednnunet.inference.bundle import read_bundle
from fednnunet.inference.predicted import ROUTES
from tests.end_to_end.tiny import (
    CASES,
    POLICY,
    TOML,
    contents,
    make_federation,
    make_planned,
    no_pictures,
)

SITES = ("north", "south")


@pytest.fixture(scope="module", autouse=True)
def _no_pictures():
    with no_pictures():
        yield


def a_run(root: Path, method: str, **settings: str) -> Path:
    """A planned federation; its sites share sums over as few cases as they train on."""
    toml = TOML.replace('"fedbn_head"', f'"{method}"')
    toml += "".join(f"{name} = {value}\n" for name, value in settings.items())
    federation = make_federation(root / "hospitals", toml=toml)
    make_planned(federation, root / "run")
    return root / "run"


def personal(run: Path, site: str) -> dict[str, torch.Tensor]:
    return read_bundle(run / "sites" / site / "personal").weights


def models(run: Path) -> set[str]:
    return {model["model"] for model in json.loads((run / SCORES).read_text())["models"]}


def test_amplitudes_are_exchanged_and_the_ledger_says_so(tmp_path):
    run = a_run(tmp_path, "feddg")
    assert train.main([str(run)]) == 0
    for site in SITES:
        entries = chain.read(run / "sites" / site / "ledger.jsonl")
        replies = [entry for entry in entries if entry["message"] == "TrainReply"]
        assert len(replies) == 2
        for entry in replies:
            told = f"{entry['what']} {entry['detail']}"
            assert "lowest spatial frequencies over all of the site's training cases" in told
    assert models(run) == {"global"}


def test_a_site_with_few_cases_refuses_to_tell_its_amplitude(tmp_path, capsys):
    run = a_run(tmp_path, "feddg")
    hospital = tmp_path / "hospitals" / "south"
    (hospital / "site.toml").write_text("min_cases = 5\n")
    assert train.main([str(run)]) == 2
    assert "4 cases are fewer than the 5" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["apfl", "iop_fl"])
def test_every_site_gets_a_model_of_its_own_beside_the_global_one(tmp_path, method):
    run = a_run(tmp_path, method)
    assert train.main([str(run)]) == 0
    assert models(run) == {"global", "personal"}
    shared, own = read_bundle(run / "global").weights, [personal(run, site) for site in SITES]
    for first, second in ((own[0], own[1]), (own[0], shared), (own[1], shared)):
        assert first.keys() == second.keys()
        assert any(not torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_an_interrupted_training_ends_the_same(tmp_path):
    for part in "ab":
        a_run(tmp_path / part, "apfl")
    whole, broken = (tmp_path / part / "run" for part in "ab")
    assert train.main([str(whole)]) == 0

    class Stopped(Exception):
        pass

    def stop(*_: object) -> None:
        raise Stopped

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fednnunet.federation.coordinator.rounds.write_history", stop)
        with pytest.raises(Stopped):
            train.main([str(broken)])
    assert train.main([str(broken)]) == 0
    for site in SITES:
        first, second = personal(whole, site), personal(broken, site)
        assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    weights = {n: b for n, b in contents(whole / "global").items() if n.endswith(".safetensors")}
    assert weights == {n: b for n, b in contents(broken / "global").items() if n in weights}


def test_hospitals_outside_get_a_mixture_of_the_models_that_sites_give(tmp_path, capsys):
    run = a_run(tmp_path, "iop_fl", routed="true")
    hospitals = tmp_path / "hospitals"
    (hospitals / "north" / "site.toml").write_text(POLICY + "share_model = true\n")
    assert train.main([str(run)]) == 0
    said = capsys.readouterr()
    assert "not in the routed bundle: south: the site refuses to answer" in said.out
    assert "the site does not give its own model away" in said.err
    bundle = read_bundle(run / "routed")
    assert list(bundle.experts) == ["global", "site-north"]
    assert not bundle.mirrored
    shared, north = read_bundle(run / "global").weights, personal(run, "north")
    assert all(torch.equal(t, shared[n]) for n, t in bundle.experts["global"].items())
    assert all(torch.equal(t, north[n]) for n, t in bundle.experts["site-north"].items())
    for site, count in (("north", 1), ("south", 0)):
        entries = chain.read(run / "sites" / site / "ledger.jsonl")
        context = [entry["what"] for entry in entries if entry["message"] == "ModelReply"]
        assert len(context) == count
        assert all("own model, whole" in what for what in context)
    scores = json.loads((run / SCORES).read_text())
    judged = {model["model"]: set(model["sites"]) for model in scores["models"]}
    assert judged["routed"] == {"west"}
    assert judged["personal"] == set(SITES)

    images, masks = hospitals / "west" / "imagesTr", tmp_path / "masks"
    assert predict.main([str(run / "routed"), "-i", str(images), "-o", str(masks)]) == 0
    shares = json.loads((masks / ROUTES).read_text())["cases"]
    assert len(shares) == CASES
    assert all(set(mixture) == {"global", "site-north"} for mixture in shares.values())


def test_every_bundle_says_that_training_mirrored_patches(tmp_path):
    run = a_run(tmp_path, "iop_fl", recipe='"nnunet"', routed="true")
    (tmp_path / "hospitals" / "north" / "site.toml").write_text(POLICY + "share_model = true\n")
    assert train.main([str(run)]) == 0
    for place in ("global", "routed", "sites/north/personal"):
        assert read_bundle(run / place).mirrored, place


def test_without_any_model_given_there_is_no_routed_bundle(tmp_path, capsys):
    run = a_run(tmp_path, "apfl", routed="true")
    assert train.main([str(run)]) == 0
    assert "no routed bundle: no site gave a model" in capsys.readouterr().out
    assert not (run / "routed").exists()
    assert models(run) == {"global", "personal"}
