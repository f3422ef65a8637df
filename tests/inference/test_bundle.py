"""Bundles come back whole, and anything else is refused with its reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from fednnunet.errors import FedNNUNetError, InputError
from fednnunet.evaluation.postprocess import Postprocessing, TargetRule
from fednnunet.inference.bundle import (
    Bundle,
    read_bundle,
    write_bundle,
    write_postprocessing,
)
from fednnunet.inference.card import read_card
from fednnunet.planning.plan import Plan

NewPlan = Callable[..., Plan]
NewBundle = Callable[..., Bundle]


def test_a_bundle_comes_back(tmp_path: Path, new_plan: NewPlan, new_bundle: NewBundle) -> None:
    written = new_bundle(tmp_path / "b", new_plan())
    found = read_bundle(tmp_path / "b")
    assert (found.plan, found.configuration, found.note) == (
        written.plan,
        written.configuration,
        {"method": "test"},
    )
    assert found.digest == written.digest
    assert found.weights.keys() == written.weights.keys()
    x = torch.randn(1, 1, 8, 8, 8)
    with torch.inference_mode():
        assert torch.equal(found.network()(x), written.network()(x))


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_bundle_knows_whether_it_saw_mirrored_patches(
    tmp_path: Path, new_plan: NewPlan, new_bundle: NewBundle, mirrored: bool
) -> None:
    plain = new_bundle(tmp_path / "plain", new_plan())
    write_bundle(
        tmp_path / "b",
        plan=plain.plan,
        configuration=plain.configuration,
        weights=plain.weights,
        mirrored=mirrored,
    )
    assert read_bundle(tmp_path / "b").mirrored is mirrored


def test_other_weights_have_another_digest(
    tmp_path: Path, new_plan: NewPlan, new_bundle: NewBundle
) -> None:
    digests = {new_bundle(tmp_path / str(s), new_plan(), seed=s).digest for s in (0, 0, 1)}
    assert len(digests) == 2


@pytest.mark.parametrize("file", ["bundle.json", "plan.json", "weights.safetensors"])
def test_a_missing_file_is_named(
    tmp_path: Path, new_plan: NewPlan, new_bundle: NewBundle, file: str
) -> None:
    new_bundle(tmp_path / "b", new_plan())
    (tmp_path / "b" / file).unlink()
    with pytest.raises(InputError, match=rf"{file} is missing"):
        read_bundle(tmp_path / "b")


def test_no_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no bundle"):
        read_bundle(tmp_path / "nowhere")


def test_truncated_weights_are_an_error(
    tmp_path: Path, new_plan: NewPlan, new_bundle: NewBundle
) -> None:
    new_bundle(tmp_path / "b", new_plan())
    path = tmp_path / "b" / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="cannot be read"):
        read_bundle(tmp_path / "b")


def test_changed_weights_are_an_error(
    tmp_path: Path, new_plan: NewPlan, new_bundle: NewBundle
) -> None:
    new_bundle(tmp_path / "b", new_plan())
    path = tmp_path / "b" / "weights.safetensors"
    save_file({name: tensor + 1 for name, tensor in load_file(path).items()}, path)
    with pytest.raises(InputError, match="were changed after it was written"):
        read_bundle(tmp_path / "b")


@pytest.mark.parametrize("spoil", ["missing", "unknown", "shape", "nan"])
def test_weights_that_do_not_fit_are_an_error(
    tmp_path: Path, new_plan: NewPlan, new_bundle: NewBundle, spoil: str
) -> None:
    good = new_bundle(tmp_path / "a", new_plan())
    weights = dict(good.weights)
    name = "heads.0.weight"
    if spoil == "missing":
        del weights[name]
    elif spoil == "unknown":
        weights["extra.weight"] = torch.zeros(1)
    elif spoil == "shape":
        weights[name] = weights[name][:1]
    else:
        weights[name] = torch.full_like(weights[name], torch.nan)
    write_bundle(tmp_path / "b", plan=good.plan, configuration=good.configuration, weights=weights)
    with pytest.raises(FedNNUNetError, match=r"heads\.0\.weight|extra\.weight"):
        read_bundle(tmp_path / "b")


def test_post_processing_is_part_of_a_bundle(
    tmp_path: Path, new_plan: NewPlan, new_bundle: NewBundle
) -> None:
    plain = new_bundle(tmp_path / "b", new_plan())
    rule = Postprocessing(targets={"nodule": TargetRule(min_mm3=10.0)})
    written = write_postprocessing(tmp_path / "b", rule)
    assert read_card(tmp_path / "b").checksum == written.digest != plain.digest
    assert written.digest in (tmp_path / "b" / "CARD.md").read_text()
    found = read_bundle(tmp_path / "b")
    assert found.postprocessing == rule and found.digest == written.digest != plain.digest
    again = write_postprocessing(tmp_path / "b", Postprocessing(foreground=True))
    assert again.digest not in (plain.digest, written.digest)
    (tmp_path / "b" / "postprocessing.json").unlink()
    with pytest.raises(InputError, match="post-processing were changed"):
        read_bundle(tmp_path / "b")
    assert new_bundle(tmp_path / "b", new_plan()).digest == plain.digest
    unknown = Postprocessing(targets={"spleen": TargetRule()})
    with pytest.raises(InputError, match="1 targets"):
        write_postprocessing(tmp_path / "b", unknown)


def test_a_bundle_of_a_newer_schema_is_refused(
    tmp_path: Path, new_plan: NewPlan, new_bundle: NewBundle
) -> None:
    new_bundle(tmp_path / "b", new_plan())
    path = tmp_path / "b" / "bundle.json"
    path.write_text(path.read_text().replace('"schema": 1', '"schema": 99'))
    with pytest.raises(InputError, match="schema 99"):
        read_bundle(tmp_path / "b")
