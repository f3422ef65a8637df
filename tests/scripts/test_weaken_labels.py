"""Every kind of weak or wrong label, derived from phantoms."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy import ndimage

from fednnunet import io
from fednnunet.federation.site.cases import site_cases
from fednnunet.federation.spec import SiteSpec
from fednnunet.federation.training_spec import Training
from fednnunet.task import Task
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def weaken(script: Callable[[str], ModuleType]) -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        yield script("weaken_labels")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, phantoms: ModuleType) -> Path:
    folder = tmp_path_factory.mktemp("phantoms")
    phantoms.make_federation(folder, train=3, test=1)
    return folder


def run(weaken: ModuleType, source: Path, out: Path, *arguments: str) -> Path:
    assert weaken.main([str(source), "-o", str(out), *arguments]) == 0
    return out


def label_of(folder: Path, name: str = "south_000") -> np.ndarray:
    return io.read_label(folder / "labelsTr" / f"{name}.nii.gz").array[0]


def header_of(folder: Path) -> dict:
    return json.loads((folder / "dataset.json").read_text())


def default_of(folder: Path) -> dict:
    return header_of(folder)["supervision"]["default"]


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_scribbles_lie_inside_their_class_and_cover_all_classes(tmp_path, weaken, source, capsys):
    out = run(weaken, source / "south", tmp_path / "out", "--kind", "scribble")
    assert default_of(out) == {"kind": "scribble", "unmarked": 3}
    for name in ("south_000", "south_001", "south_002"):
        full, marked = label_of(source / "south", name), label_of(out, name)
        known = marked != 3
        assert np.array_equal(marked[known], full[known])
        for plane, drawn in zip(full, marked, strict=True):  # slices are the thickest axis
            assert set(np.unique(plane)) == set(np.unique(drawn)) - {3}
        assert 0.01 < known.mean() < 0.3
    said = capsys.readouterr().out
    assert "3 cases weakened, 0 kept" in said and "% of voxels marked (background" in said


def test_a_border_scribble_lies_one_to_three_voxels_inside(weaken):
    marks = sys.modules["weaken_marks"]
    disc = np.hypot(*(np.indices((41, 41)) - 20)) < 15
    depth = ndimage.distance_transform_edt(disc)
    lengths = []
    for seed in range(30):
        drawn = marks._border_curve(disc, np.random.default_rng(seed))
        assert depth[drawn].min() > 1 and depth[drawn].max() < 5
        assert ndimage.label(drawn, np.ones((3, 3)))[1] == 1
        lengths.append(int(drawn.sum()))
    assert min(lengths) < 0.4 * max(lengths)


def test_partial_labels_keep_the_classes_that_are_named(tmp_path, weaken, source):
    out = run(weaken, source / "south", tmp_path / "out", "--kind", "partial", "--classes", "organ")
    assert default_of(out) == {"kind": "partial", "annotated": ["organ"]}
    full = label_of(source / "south")
    assert np.array_equal(label_of(out), np.where(full == 1, 1, 0))


def test_full_labels_of_some_classes_are_what_naive_training_sees(tmp_path, weaken, source):
    out = run(weaken, source / "south", tmp_path / "out", "--kind", "full", "--classes", "organ")
    assert default_of(out) == {"kind": "full"}
    assert set(np.unique(label_of(out))) == {0, 1}


def test_points_are_so_many_of_each_class(tmp_path, weaken, source):
    out = run(weaken, source / "south", tmp_path / "out", "--kind", "point", "--points", "4")
    full, marked = label_of(source / "south"), label_of(out)
    assert [int((marked == value).sum()) for value in range(3)] == [4, 4, 4]
    assert np.array_equal(marked[marked != 3], full[marked != 3])


def test_boxes_are_tight_and_in_the_order_of_the_file(tmp_path, weaken, source):
    out = run(weaken, source / "south", tmp_path / "out", "--kind", "box")
    assert default_of(out) == {"kind": "box", "boxes": "boxes.json"}
    assert not (out / "labelsTr").exists()
    boxes = json.loads((out / "boxes.json").read_text())
    assert boxes["unit"] == "voxel" and len(boxes["cases"]) == 3
    full = label_of(source / "south").T  # (x, y, z), as nibabel counts
    left = full.copy()
    for box in boxes["cases"]["south_000"]:
        value = {"organ": 1, "nodule": 2}[box["label"]]
        inside = tuple(slice(*ends) for ends in zip(box["low"], box["high"], strict=True))
        part = full[inside] == value
        assert all(part.take(end, axis).any() for axis in range(3) for end in (0, -1))
        left[inside][left[inside] == value] = 0
    assert not left.any()


def test_image_labels_say_what_is_present(tmp_path, weaken, source):
    shutil.copytree(source / "south", tmp_path / "site")
    path = tmp_path / "site" / "labelsTr" / "south_000.nii.gz"
    label = io.read_label(path)
    io.write_mask(np.where(label.array[0] == 2, 0, label.array[0]), label.geometry, path)
    out = run(weaken, tmp_path / "site", tmp_path / "out", "--kind", "image")
    assert default_of(out) == {"kind": "image", "presence": "presence.csv"}
    with (out / "presence.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 6 and not (out / "labelsTr").exists()
    absent = [(row["case"], row["label"]) for row in rows if row["present"] == "0"]
    assert absent == [("south_000", "nodule")]


def test_without_labels_no_map_is_left(tmp_path, weaken, source):
    out = run(weaken, source / "south", tmp_path / "out", "--kind", "none")
    assert default_of(out) == {"kind": "none"}
    assert not (out / "labelsTr").exists() and len(list((out / "imagesTr").iterdir())) == 3


@pytest.mark.parametrize("fault", ["dilated", "eroded", "shifted", "swapped"])
def test_wrong_labels_are_wrong_and_said_to_be_full(tmp_path, weaken, source, fault):
    out = run(weaken, source / "south", tmp_path / "out", "--kind", "wrong", "--fault", fault)
    assert default_of(out) == {"kind": "full"}
    full, wrong = label_of(source / "south"), label_of(out)
    sizes = {"dilated": 1, "eroded": -1}.get(fault, 0)
    changed = np.sign(int((wrong > 0).sum()) - int((full > 0).sum()))
    assert changed == sizes and not np.array_equal(wrong, full)
    assert set(np.unique(wrong)) == {0, 1, 2}
    if fault == "swapped":
        assert np.array_equal(wrong == 1, full == 2)
    if fault == "dilated":
        assert np.array_equal(wrong[full > 0], full[full > 0])


@pytest.mark.parametrize("kind", ["scribble", "point", "wrong"])
def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path, weaken, source, kind):
    fault = ("--fault", "shifted") if kind == "wrong" else ()
    found = []
    for number, seed in enumerate(("0", "0", "1", "2", "3")):
        out = run(
            weaken, source / "south", tmp_path / str(number), "--kind", kind, "--seed", seed, *fault
        )
        found.append(files_of(out))
    assert found[0] == found[1]
    assert any(found[0] != other for other in found[2:])


def test_cases_that_are_kept_stay_full(tmp_path, weaken, source):
    out = run(weaken, source, tmp_path / "out", "--kind", "none", "--keep", "south_001")
    assert header_of(out / "south")["supervision"]["cases"] == {"south_001": {"kind": "full"}}
    kept = Path("labelsTr") / "south_001.nii.gz"
    assert (out / "south" / kept).read_bytes() == (source / "south" / kept).read_bytes()
    assert not (out / "north" / "labelsTr").exists()


def test_what_a_training_holds_out_becomes_the_test_set(tmp_path, weaken, source):
    bare = tmp_path / "bare"
    shutil.copytree(source / "south", bare)
    shutil.rmtree(bare / "labelsTs")
    shutil.rmtree(bare / "imagesTs")
    out = run(weaken, bare, tmp_path / "out", "--kind", "none", "--keep-held-out", "0.4,3")
    task = Task(name="t", channels=("MRI",), labels=("background", "organ", "nodule"))
    training = Training(held_out=0.4, split_seed=3)
    held = site_cases(SiteSpec(folder=bare), task, training, site="south").held_out
    names = [case.name for case in held]
    assert names == list(header_of(out)["supervision"]["cases"])
    for name in names:
        kept = (out / "labelsTs" / f"{name}.nii.gz").read_bytes()
        assert kept == (bare / "labelsTr" / f"{name}.nii.gz").read_bytes()
        assert (out / "imagesTs" / f"{name}_0000.nii.gz").is_file()
        assert not (out / "imagesTr" / f"{name}_0000.nii.gz").exists()


def test_images_are_linked_or_copied_and_a_test_set_keeps_its_labels(tmp_path, weaken, source):
    linked = run(weaken, source / "south", tmp_path / "a", "--kind", "none")
    copied = run(weaken, source / "south", tmp_path / "b", "--kind", "none", "--copy")
    name = Path("imagesTr") / "south_000_0000.nii.gz"
    assert (linked / name).is_symlink() and not (copied / name).is_symlink()
    assert (linked / name).read_bytes() == (copied / name).read_bytes()
    assert (linked / "labelsTs" / "south_003.nii.gz").is_file()
    assert (linked / "site.toml").is_file()


def test_a_partial_source_stays_partial_where_it_is_kept(tmp_path, weaken, source):
    shutil.copytree(source / "south", tmp_path / "site")
    header = header_of(tmp_path / "site")
    header["annotated"] = {"south_000": ["organ"], "south_001": ["organ"]}
    (tmp_path / "site" / "dataset.json").write_text(json.dumps(header))
    out = run(weaken, tmp_path / "site", tmp_path / "a", "--kind", "full", "--keep", "south_000")
    supervision = header_of(out)["supervision"]
    assert supervision["default"] == {"kind": "full"}
    assert supervision["cases"]["south_000"] == {"kind": "partial", "annotated": ["organ"]}
    assert "annotated" not in header_of(out)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--kind", "partial"], "no class is named"),
        (["--kind", "partial", "--classes", "liver"], "no class liver"),
        (["--kind", "none", "--keep", "nobody"], "no case nobody"),
        (["--kind", "none", "--keep-held-out", "0.2"], "a share and a seed"),
        (["--kind", "none", "--keep-held-out", "0.2,0"], "has a test set already"),
        (["--kind", "point", "--points", "0"], "must be positive"),
    ],
)
def test_what_cannot_be_done_is_said(tmp_path, weaken, source, capsys, arguments, words):
    assert weaken.main([str(source / "south"), "-o", str(tmp_path / "out"), *arguments]) == 2
    assert words in capsys.readouterr().err


def test_a_folder_that_is_there_is_not_written_over(tmp_path, weaken, source, capsys):
    run(weaken, source / "south", tmp_path / "out", "--kind", "none")
    assert weaken.main([str(source / "south"), "-o", str(tmp_path / "out"), "--kind", "box"]) == 2
    assert "is there already" in capsys.readouterr().err
