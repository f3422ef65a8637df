from __future__ import annotations

import stat
import zipfile
from pathlib import Path, PurePosixPath

import pytest

from fednnunet.errors import InputError
from fednnunet.interop.nnunet_archive import Model, find_models, take_out

NAME = "checkpoint_final.pth"
ROOT = "Dataset001_Made/nnUNetTrainer__nnUNetPlans__3d_fullres"
FILES = {
    f"{ROOT}/plans.json": b"{}",
    f"{ROOT}/dataset.json": b"{ }",
    f"{ROOT}/fold_0/{NAME}": b"weights",
    f"{ROOT}/fold_10/{NAME}": b"more",
    f"{ROOT}/fold_2/progress.png": b"",
}


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_folder(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_a_zip_and_its_folder_hold_the_same_model(tmp_path: Path) -> None:
    packed = write_zip(tmp_path / "model.zip", FILES)
    folder = write_folder(tmp_path / "results", FILES)
    model = Model(folder=PurePosixPath(ROOT), folds=("0", "10"))
    assert find_models(packed, NAME) == find_models(folder, NAME) == (model,)
    assert model.name == "nnUNetTrainer__nnUNetPlans__3d_fullres"
    for source in (packed, folder):
        place = take_out(source, model, "10", NAME, tmp_path / f"out_{source.name}")
        assert (place / "fold_10" / NAME).read_bytes() == b"more"
        assert (place / "dataset.json").read_bytes() == b"{ }"


def test_the_folder_of_a_model_is_found_in_itself(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, FILES) / ROOT
    (model,) = find_models(folder, NAME)
    assert model.folder == PurePosixPath()
    assert take_out(folder, model, "0", NAME, tmp_path) == folder


def test_only_what_is_needed_is_unpacked(tmp_path: Path) -> None:
    packed = write_zip(tmp_path / "model.zip", FILES | {f"{ROOT}/fold_0/debug.json": b"{}"})
    (model,) = find_models(packed, NAME)
    take_out(packed, model, "0", NAME, tmp_path / "out")
    unpacked = {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert unpacked == {"plans.json", "dataset.json", NAME}


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "a\\..\\x", "C:x"])
def test_a_name_that_leads_elsewhere_is_refused(name: str, tmp_path: Path) -> None:
    packed = write_zip(tmp_path / "model.zip", FILES | {name: b""})
    with pytest.raises(InputError, match="leads elsewhere") as caught:
        find_models(packed, NAME)
    assert caught.value.mend


def test_a_link_is_refused(tmp_path: Path) -> None:
    packed = write_zip(tmp_path / "model.zip", FILES)
    link = zipfile.ZipInfo(f"{ROOT}/fold_3")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr(link, "/etc")
    with pytest.raises(InputError, match="it has a link"):
        find_models(packed, NAME)


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    packed = write_zip(tmp_path / "model.zip", FILES | {f"{ROOT}/fold_0/{NAME}": bytes(4 << 20)})
    (model,) = find_models(packed, NAME)
    with pytest.raises(InputError, match=r"would unpack to 4,194,304 bytes"):
        take_out(packed, model, "0", NAME, tmp_path / "out")
    assert not (tmp_path / "out" / model.name / "fold_0" / NAME).exists()


def test_a_zip_cut_off_is_refused(tmp_path: Path) -> None:
    packed = write_zip(tmp_path / "model.zip", FILES)
    packed.write_bytes(packed.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"model\.zip is cut off"):
        find_models(packed, NAME)


def test_a_damaged_file_in_a_zip_is_named(tmp_path: Path) -> None:
    packed = tmp_path / "model.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in FILES.items():
            archive.writestr(name, content)
    packed.write_bytes(packed.read_bytes().replace(b"weights", b"weighty"))
    (model,) = find_models(packed, NAME)
    with pytest.raises(InputError, match=rf"{NAME} in model.zip is damaged"):
        take_out(packed, model, "0", NAME, tmp_path / "out")


def test_what_is_lacking_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no plans\.json"):
        find_models(write_folder(tmp_path / "a", {"x/fold_0/" + NAME: b""}), NAME)
    with pytest.raises(InputError, match=f"no fold has a {NAME}"):
        find_models(write_folder(tmp_path / "b", {"x/plans.json": b""}), NAME)
    with pytest.raises(InputError, match="there is no folder none"):
        find_models(tmp_path / "none", NAME)
    packed = write_zip(tmp_path / "c.zip", {"plans.json": b"", f"fold_0/{NAME}": b""})
    (model,) = find_models(packed, NAME)
    with pytest.raises(InputError, match=r"c\.zip has no dataset\.json"):
        take_out(packed, model, "0", NAME, tmp_path / "out")
