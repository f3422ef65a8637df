"""Whatever is wrong with what users give: one error, all faults, nothing of a run changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from fednnunet import io
from fednnunet.commands import plan, predict, train
from fednnunet.volume import Geometry
from tests.end_to_end.tiny import contents

Spoil = Callable[[Path], None]  # takes the folder that holds federation.toml and the sites


def image(site: str, case: int) -> str:
    return f"{site}/imagesTr/case_{case}_0000.nii.gz"


def label(site: str, case: int) -> str:
    return f"{site}/labelsTr/case_{case}.nii.gz"


def remove(name: str) -> Spoil:
    return lambda root: (root / name).unlink()


def truncate(name: str) -> Spoil:
    def spoil(root: Path) -> None:
        path = root / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return spoil


def voxel(name: str, value: float) -> Spoil:
    """Set one voxel of an image, or of a label map, to `value`."""

    def spoil(root: Path) -> None:
        if "labelsTr" in name:
            mask = io.read_label(root / name)
            array = mask.array[0].astype(np.uint8)
            array[1, 2, 3] = value
            io.write_mask(array, mask.geometry, root / name)
            return
        volume = io.read_volume([root / name])
        volume.array[0, 1, 2, 3] = value
        io.write_volume(volume, root / name)

    return spoil


def cut(name: str) -> Spoil:
    """Take a slice off a label map."""

    def spoil(root: Path) -> None:
        mask = io.read_label(root / name)
        io.write_mask(mask.array[0, 1:].astype(np.uint8), mask.geometry, root / name)

    return spoil


def shift(name: str) -> Spoil:
    """Move a label map by a few mm, so that its affine is another."""

    def spoil(root: Path) -> None:
        mask = io.read_label(root / name)
        z, y, x = mask.geometry.origin_mm
        geometry = Geometry(spacing_mm=mask.spacing_mm, origin_mm=(z + 4, y, x))
        io.write_mask(mask.array[0].astype(np.uint8), geometry, root / name)

    return spoil


def second_channel(site: str) -> Spoil:
    """Give a site two channels and say so in its dataset.json."""

    def spoil(root: Path) -> None:
        for path in sorted((root / site / "imagesTr").iterdir()):
            shutil.copy(path, path.with_name(path.name.replace("_0000", "_0001")))
        header = json.loads((root / site / "dataset.json").read_text())
        header["channel_names"] = {"0": "MRI", "1": "T2"}
        (root / site / "dataset.json").write_text(json.dumps(header))

    return spoil


def toml(old: str, new: str) -> Spoil:
    def spoil(root: Path) -> None:
        path = root / "federation.toml"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new, 1))

    return spoil


def every(*spoils: Spoil) -> Spoil:
    def spoil(root: Path) -> None:
        for one in spoils:
            one(root)

    return spoil


@dataclass(frozen=True, slots=True)
class Fault:
    """How data is spoilt, and what the error must say: what, where and how to mend."""

    spoil: Spoil
    words: tuple[str, ...]


FAULTS = {
    "a missing folder": Fault(
        lambda root: shutil.rmtree(root / "south"),
        ("the folder of site south is missing", "where: site south, ", "correct the path"),
    ),
    "a folder without images": Fault(
        lambda root: shutil.rmtree(root / "south" / "imagesTr"),
        ("is missing", "where: site south, imagesTr", "nnU-Net raw layout"),
    ),
    "an image without label": Fault(
        remove(label("north", 2)),
        ("case case_2 has no label map", "where: site north, labelsTr/case_2.nii.gz", "add it"),
    ),
    "a label without image": Fault(
        remove(image("north", 2)),
        ("case_2.nii.gz has no image", "where: site north, labelsTr/case_2.nii.gz", "add the im"),
    ),
    "another shape": Fault(
        cut(label("north", 1)),
        ("not on its image's grid", "where: site north, labelsTr/case_1.nii.gz", "resample"),
    ),
    "another affine": Fault(
        shift(label("west", 1)),
        ("not on its image's grid", "where: site west, labelsTr/case_1.nii.gz", "resample"),
    ),
    "a corrupted image": Fault(
        truncate(image("south", 3)),
        ("cannot be read", "where: site south, imagesTr/case_3_0000.nii.gz", "mend:"),
    ),
    "a corrupted label": Fault(
        truncate(label("south", 3)),
        ("cannot be read", "where: site south, labelsTr/case_3.nii.gz", "mend:"),
    ),
    "a NaN": Fault(
        voxel(image("north", 4), np.nan),
        ("1 voxels that are NaN", "where: site north, imagesTr/case_4_0000.nii.gz", "replace"),
    ),
    "a label outside the task": Fault(
        voxel(label("north", 4), 7),
        (
            "label 7 in case_4.nii.gz is not one of the task's labels 0, 1, 2",
            "where: site north, labelsTr/case_4.nii.gz, 1 voxels",
            "correct the label map",
        ),
    ),
    "other channels": Fault(
        second_channel("south"),
        ("['MRI', 'T2'], the task has ['MRI']", "where: site south, dataset.json", "use the same"),
    ),
    "an unknown key": Fault(
        toml("held_out", "hold_out"),
        (
            "unknown field 'hold_out'",
            "federation.toml, $.training.hold_out",
            "did you mean 'held_out'?",
        ),
    ),
    "a wrong type": Fault(
        toml("rounds = 2", 'rounds = "two"'),
        ("$.training.rounds must be a whole number, not 'two'", "federation.toml", "write a whole"),
    ),
    "a site's own file": Fault(
        lambda root: (root / "north" / "site.toml").write_text("min_case = 1\n") and None,
        ("unknown field 'min_case'", "where: site north, site.toml", "did you mean 'min_cases'?"),
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_told_once_and_leaves_the_run_as_it_was(
    name, federation, planned, copy_of, capsys
):
    fault, root, run = FAULTS[name], copy_of(federation.parent), copy_of(planned)
    fault.spoil(root)
    before = contents(run)
    capsys.readouterr()
    assert plan.main([str(root / "federation.toml"), "-o", str(run)]) == 2
    said = capsys.readouterr().err
    assert said.count("error:") == 1
    assert "Traceback" not in said
    for words in fault.words:
        assert words in said
    assert contents(run) == before


def test_all_faults_of_all_sites_are_told_at_once(federation, planned, copy_of, capsys):
    root, run = copy_of(federation.parent), copy_of(planned)
    every(
        remove(label("north", 0)),
        voxel(image("north", 1), np.inf),
        voxel(label("north", 1), 9),
        voxel(label("north", 2), 5),
        truncate(image("south", 3)),
        second_channel("west"),
    )(root)
    assert plan.main([str(root / "federation.toml"), "-o", str(run)]) == 2
    said = capsys.readouterr().err
    assert said.count("error:") == 1
    for words in (
        "site north, labelsTr/case_0.nii.gz",
        "site north, imagesTr/case_1_0000.nii.gz",
        "label 9 in case_1.nii.gz",
        "label 5 in case_2.nii.gz",
        "site south, imagesTr/case_3_0000.nii.gz",
        "site west, dataset.json",
    ):
        assert words in said


def test_all_faults_of_a_federation_file_are_told_at_once(federation, copy_of, tmp_path, capsys):
    root = copy_of(federation.parent)
    every(toml("held_out", "hold_out"), toml("rounds = 2", "rounds = 2.5"))(root)
    toml('planner = "cpu"', 'planner = "magic"')(root)
    assert plan.main([str(root / "federation.toml"), "-o", str(tmp_path / "new")]) == 2
    said = capsys.readouterr().err
    assert all(words in said for words in ("hold_out", "2.5", "'magic'"))
    assert not (tmp_path / "new").exists()


def test_a_missing_channel_is_named_with_its_site(federation, copy_of, tmp_path, capsys):
    root = copy_of(federation.parent)
    every(second_channel("north"), second_channel("south"))(root)
    toml('["MRI"]', '["MRI", "T2"]')(root)
    assert plan.main([str(root / "federation.toml"), "-o", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert "lacks the channel 'T2'" in said
    assert "site west" in said
    assert "site north" not in said


def edit(**changes: object) -> Callable[[Path], None]:
    """Change fields of a plan's first configuration by hand."""

    def spoil(path: Path) -> None:
        data = json.loads(path.read_text())
        data["configurations"][0].update(changes)
        path.write_text(json.dumps(data))

    return spoil


IMPOSSIBLE = {
    "patch": (edit(patch_vox=[8, 9, 8]), "not divisible by its strides", "a multiple of [2, 2, 2]"),
    "axes": (edit(patch_vox=[8, 8]), "needs 2 values", "one value per axis"),
    "batch": (edit(batch=0), "batch of 3d_fullres is 0", "a batch of 1 to"),
    "unknown": (edit(pitch=3), "unknown field 'pitch'", "choose one of"),
    "type": (edit(batch="two"), "must be a whole number", "write a whole number"),
    "name": (edit(name="4d"), "no configuration '3d_fullres'", "choose one of: 4d"),
    "json": (lambda path: path.write_text("{") and None, "not readable JSON", "restore the file"),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_an_impossible_plan_is_refused_before_anything_is_done(name, trained, copy_of, capsys):
    run = copy_of(trained.run)
    spoil, what, mend = IMPOSSIBLE[name]
    spoil(run / "plan.json")
    before = contents(run)
    assert train.main([str(run)]) == 2
    said = capsys.readouterr().err
    assert said.count("error:") == 1
    assert all(words in said for words in (what, "plan.json", mend))
    assert contents(run) == before


@pytest.mark.parametrize("change", [{"batch": 3}, {"spacing_mm": [2.0, 1.0, 1.0]}])
def test_rounds_of_another_plan_are_not_continued(change, trained, copy_of, capsys):
    """Nor are the sites' cases prepared anew by it."""
    run = copy_of(trained.run)
    edit(**change)(run / "plan.json")
    before = contents(run)
    assert train.main([str(run)]) == 2
    assert "rounds of another training" in capsys.readouterr().err
    assert contents(run) == before


def test_training_where_nothing_was_planned_says_what_to_do(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for name, words in (
        ("nothing", ("there is no run folder nothing",)),
        ("empty", ("empty has no federation.json and no plan.json",)),
        ("hospitals.toml", ("training needs a run folder", "hospitals && fednnunet_train")),
    ):
        assert train.main([str(tmp_path / name)]) == 2
        said = capsys.readouterr().err
        assert all(word in said for word in (*words, "fednnunet_plan"))


def test_one_broken_image_does_not_keep_the_others_from_being_predicted(
    trained, federation, copy_of, tmp_path, capsys
):
    root, masks = copy_of(federation.parent), tmp_path / "masks"
    truncate(image("north", 1))(root)
    command = [str(trained.run / "global"), "-i", str(root / "north/imagesTr"), "-o", str(masks)]
    assert predict.main(command) == 2
    assert "case_1_0000.nii.gz" in capsys.readouterr().err
    assert sorted(path.name for path in masks.glob("*.nii.gz")) == [
        f"case_{number}.nii.gz" for number in (0, 2, 3, 4)
    ]
