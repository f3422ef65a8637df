"""The benchmark of poisoning at tiny size, and its attacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from fednnunet import io
from tests.conftest import ROOT
from tests.end_to_end.tiny import make_site, no_pictures, small_plan
from tests.scripts.test_bench_bytes import make_sites


@pytest.fixture
def scripts(
    script: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], ModuleType]]:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    yield script


def some_updates(count: int = 4) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [
        {
            "a": 1 + torch.randn(3, 2, generator=generator, dtype=torch.float64),
            "b": 1 + torch.randn(4, generator=generator, dtype=torch.float64),
        }
        for _ in range(count)
    ]


def test_each_attack_sends_what_its_paper_says(scripts):
    attacks = scripts("poisoning_attacks")
    own, *others = some_updates(5)
    mean = torch.stack([other["a"] for other in others]).mean(0)
    assert torch.equal(attacks.sign_flip(own, others)["a"], -own["a"])
    assert torch.equal(attacks.scaling(own, others)["b"], 10 * own["b"])
    assert bool((attacks.alie(own, others)["a"] < mean).all())
    assert torch.allclose(attacks.inner_product(own, others)["a"], -5 * mean)


def test_no_distance_tells_the_distance_bounded_update(scripts):
    attacks = scripts("poisoning_attacks")
    own, *others = some_updates(5)
    flat = torch.stack([torch.cat([o["a"].flatten(), o["b"]]) for o in others])
    sent = attacks.distance_bounded(own, others)
    found = (flat - torch.cat([sent["a"].flatten(), sent["b"]])).norm(dim=1).max()
    limit = torch.cdist(flat, flat).max()
    assert 0.99 * limit <= found <= limit * (1 + 1e-9)


def test_only_floating_point_tensors_are_crafted(scripts):
    attacks = scripts("poisoning_attacks")
    sent = {"a": torch.ones(2), "n": torch.tensor(3)}
    own = {"a": torch.full((2,), 1.5), "n": torch.tensor(4)}
    found = attacks.crafted("sign_flip", own, [own], sent)
    assert torch.equal(found["a"], torch.full((2,), 0.5)) and int(found["n"]) == 4
    assert found["a"].dtype == torch.float32


def test_cases_are_poisoned_in_a_copy(scripts, tmp_path):
    attacks = scripts("poisoning_attacks")
    make_site(tmp_path / "site", "north")
    for kind in attacks.CASES:
        attacks.poison_cases(kind, tmp_path / "site", tmp_path / kind)
    name = Path("labelsTr") / "case_1.nii.gz"
    label = io.read_label(tmp_path / "site" / name).array
    flipped = io.read_label(tmp_path / "label_flip" / name).array
    assert np.array_equal(flipped == 1, label == 2) and np.array_equal(flipped == 0, label == 0)
    assert not io.read_label(tmp_path / "backdoor" / name).array.any()
    image = Path("imagesTr") / "case_1_0000.nii.gz"
    clean, marked = (
        io.read_volume([tmp_path / folder / image]).array for folder in ("site", "backdoor")
    )
    assert (clean != marked).sum() == attacks.TRIGGER_VOX**3
    other = Path("labelsTr") / "case_2.nii.gz"
    assert io.read_label(tmp_path / "backdoor" / other).array.any()


def test_a_cell_is_trained_stored_and_in_the_tables(scripts, tmp_path):
    bench = scripts("bench_poisoning")
    arguments = ["-o", str(tmp_path / "out"), "--data", str(make_sites(tmp_path / "volumes"))]
    arguments += ["--rounds", "2", "--iterations", "1", "--cells", "krum-alie,mean-none"]
    with no_pictures():
        assert bench.main(arguments, shape=small_plan) == 0
    assert len(list((tmp_path / "out" / "cells").iterdir())) == 2
    table = (tmp_path / "out" / "poisoning.md").read_text()
    assert "| alie | - |" in table and "backdoor" in table
    assert "| mean | " in (tmp_path / "out" / "honest_sites.md").read_text()
