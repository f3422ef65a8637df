"""Phantom hospitals: deterministic, varied, in nnU-Net's raw layout."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy import ndimage

from fednnunet import io
from fednnunet.dataset import read_dataset
from fednnunet.federation.methods.catalogue import PRESETS
from fednnunet.federation.spec import read_federation


def test_a_federation_is_written_and_read(tmp_path: Path, phantoms: ModuleType) -> None:
    path = phantoms.make_federation(tmp_path, train=2, test=1)
    federation = read_federation(path)
    assert sorted(federation.sites) == ["north", "south", "west"]
    assert federation.training.method == PRESETS["fedbn_head"]
    for name, site in federation.sites.items():
        dataset = read_dataset(site.folder, federation.task, site=name)
        assert len(dataset.cases) == 2
        assert len(list((site.folder / "labelsTs").iterdir())) == 1
        for case in dataset.cases:
            image, label = io.read_volume(case.images), io.read_label(case.label)
            assert not io.grid_difference(image, label)
            assert sorted(np.unique(label.array)) == [0, 1, 2]


@pytest.mark.parametrize("hospital", range(3))
def test_a_case_depends_on_seed_and_number_alone(phantoms: ModuleType, hospital: int) -> None:
    def make(seed: int, number: int) -> tuple[np.ndarray, np.ndarray]:
        image, label = phantoms.make_case(phantoms.HOSPITALS[hospital], seed=seed, number=number)
        return image.array, label

    first = make(0, 3)
    again = make(0, 3)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    for other in (make(1, 3), make(0, 4)):
        assert not np.array_equal(first[0], other[0])
        assert not np.array_equal(first[1], other[1])


@pytest.mark.parametrize("hospital", range(3))
def test_structures_are_of_use(phantoms: ModuleType, hospital: int) -> None:
    sizes = []
    for number in range(4):
        image, label = phantoms.make_case(phantoms.HOSPITALS[hospital], seed=0, number=number)
        organ, nodule = label == 1, label == 2
        assert organ.sum() > nodule.sum() > 100
        assert (ndimage.binary_dilation(organ) & nodule).any()
        values = image.array[0]
        spread = values[organ].std() + values[nodule].std()
        assert abs(values[organ].mean() - values[nodule].mean()) > 0.7 * spread
        sizes.append(int(organ.sum()))
    assert max(sizes) > 1.1 * min(sizes)


def test_the_command_says_where_the_file_is(
    tmp_path: Path, phantoms: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert phantoms.main([str(tmp_path), "--train", "1", "--test", "0"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "federation.toml")
