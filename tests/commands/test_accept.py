"""What is known of a case overrules its pseudo-label; the copy of the site says what it teaches."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fednnunet import io
from fednnunet.commands.accept import overruled, write_accepted
from fednnunet.dataset import Case, read_dataset
from fednnunet.errors import InputError, ManyFaults
from fednnunet.supervision import UNKNOWN
from fednnunet.task import Task
from fednnunet.volume import Geometry, Volume

TASK = Task(name="t", channels=("MRI",), labels=("background", "organ", "nodule"))
GEOMETRY = Geometry(spacing_mm=(2.0, 1.0, 1.0), origin_mm=(1.0, 2.0, 3.0))
MASK = np.zeros((4, 6, 6), np.uint8)
MASK[1:3, 1:5, 1:5] = 1
MASK[1:3, 2:4, 2:4] = 2


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Five cases: full, partial, scribbled, boxed, and labelled by a table."""
    folder = tmp_path / "site"
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    image = np.random.default_rng(0).normal(5, 1, (1, *MASK.shape)).astype(np.float32)
    for name in ("full", "partial", "scribbled", "boxed", "told"):
        path = folder / "imagesTr" / f"{name}_0000.nii.gz"
        io.write_volume(Volume(array=image, geometry=GEOMETRY), path)
    maps = {"full": MASK, "partial": np.zeros_like(MASK), "scribbled": np.full_like(MASK, 3)}
    maps["partial"][0, 0, 0] = 1  # the organ is elsewhere than the network finds it
    maps["scribbled"][1, 1, 1:4] = (0, 1, 2)
    for name, label in maps.items():
        io.write_mask(label, GEOMETRY, folder / "labelsTr" / f"{name}.nii.gz")
    boxes = {"boxed": [{"label": "organ", "low": [1, 1, 1], "high": [5, 5, 2]}]}
    (folder / "boxes.json").write_text(json.dumps({"unit": "voxel", "cases": boxes}))
    (folder / "presence.csv").write_text("case,label,present\ntold,organ,1\ntold,nodule,0\n")
    header = {
        "channel_names": {"0": "MRI"},
        "labels": {name: value for value, name in enumerate(TASK.labels)},
        "annotated": {"partial": ["organ"]},
        "supervision": {
            "cases": {
                "scribbled": {"kind": "scribble", "unmarked": 3},
                "boxed": {"kind": "box", "boxes": "boxes.json"},
                "told": {"kind": "image", "presence": "presence.csv"},
            }
        },
    }
    (folder / "dataset.json").write_text(json.dumps(header))
    return folder


def chosen(site: Path, tmp_path: Path, *names: str) -> list[tuple[Case, Path]]:
    cases = {case.name: case for case in read_dataset(site, TASK).cases}
    pairs = []
    for name in names:
        path = tmp_path / "masks" / f"{name}.nii.gz"
        path.parent.mkdir(exist_ok=True)
        io.write_mask(MASK, GEOMETRY, path)
        pairs.append((cases[name], path))
    return pairs


def test_what_is_known_overrules(tmp_path: Path, site: Path) -> None:
    names = ("partial", "scribbled", "boxed", "told")
    out = tmp_path / "out"
    write_accepted(site, out, chosen(site, tmp_path, *names), TASK, origin="bundle 12")
    found = {n: io.read_label(out / "labelsTr" / f"{n}.nii.gz").array[0] for n in names}
    partial = np.where(MASK == 2, 2, 0)
    partial[0, 0, 0] = 1
    assert np.array_equal(found["partial"], partial)
    scribbled = MASK.copy()
    scribbled[1, 1, 1:4] = (0, 1, 2)
    assert np.array_equal(found["scribbled"], scribbled)
    boxed = np.where(MASK == 1, 1, 0)
    boxed[2:] = 0
    assert np.array_equal(found["boxed"], boxed)
    assert np.array_equal(found["told"], np.where(MASK == 1, 1, 0))


def test_the_copy_names_the_kind_and_the_source_and_the_rest_is_as_it_was(tmp_path, site):
    out = tmp_path / "out"
    write_accepted(site, out, chosen(site, tmp_path, "partial", "boxed"), TASK, origin="bundle 12")
    cases = {case.name: case for case in read_dataset(out, TASK).cases}
    kinds = {name: case.labels.supervision.kind for name, case in cases.items()}
    assert kinds == {
        "full": "full",
        "partial": "pseudo",
        "scribbled": "scribble",
        "boxed": "pseudo",
        "told": "image",
    }
    assert cases["boxed"].labels.source == "bundle 12"
    assert (out / "imagesTr" / "full_0000.nii.gz").is_symlink()
    for name in ("labelsTr/full.nii.gz", "labelsTr/scribbled.nii.gz", "presence.csv"):
        assert (out / name).read_bytes() == (site / name).read_bytes()
    assert json.loads((out / "boxes.json").read_text())["cases"] == {}
    assert (site / "labelsTr" / "partial.nii.gz").read_bytes() != (
        out / "labelsTr" / "partial.nii.gz"
    ).read_bytes()


def test_a_mask_without_a_class_that_is_there_is_refused_with_all_others(tmp_path, site):
    pairs = chosen(site, tmp_path, "told", "scribbled")
    io.write_mask(np.where(MASK == 2, 2, 0), GEOMETRY, pairs[0][1])
    io.write_mask(MASK[1:], GEOMETRY, pairs[1][1])
    with pytest.raises(ManyFaults) as fault:
        write_accepted(site, tmp_path / "out", pairs, TASK, origin="bundle 12")
    assert "contains organ" in str(fault.value) and "is not on its image's grid" in str(fault.value)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_there_is_not_written_over(tmp_path, site):
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="is there already"):
        write_accepted(site, tmp_path / "out", [], TASK, origin="bundle 12")


def test_without_labels_the_mask_stays(site):
    case = read_dataset(site, TASK).cases[0]
    assert overruled(MASK, None, case, TASK) is MASK
    unknown = np.full(MASK.shape, UNKNOWN, np.int16)
    told = next(c for c in read_dataset(site, TASK).cases if c.name == "told")
    assert set(np.unique(overruled(MASK, unknown, told, TASK))) == {0, 1}
