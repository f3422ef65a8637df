from __future__ import annotations

import os
import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fednnunet.errors import InputError
from fednnunet.interop.nnunet_checkpoint import read_checkpoint


def content(**changes: Any) -> dict[str, Any]:
    """What nnU-Net's trainer saves, its log of numpy's numbers included."""
    return {
        "network_weights": {"decoder.seg_layers.0.weight": torch.ones(2, 3)},
        "optimizer_state": {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": []},
        "grad_scaler_state": None,
        "logging": {"mean_fg_dice": [np.float32(0.5)], "ema_fg_dice": [np.float64(0.4)]},
        "_best_ema": np.float64(0.4),
        "current_epoch": 7,
        "init_args": {
            "plans": {"configurations": {}},
            "configuration": "3d_fullres",
            "fold": 0,
            "dataset_json": {},
            "device": torch.device("cpu"),
        },
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 1, 2),
        **changes,
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoint_final.pth"
    torch.save(content(), path)
    return path


def test_what_a_trainer_saves_is_read(path: Path) -> None:
    found = read_checkpoint(path)
    assert (found.configuration, found.trainer) == ("3d_fullres", "nnUNetTrainer")
    assert found.mirror_axes == (0, 1, 2)
    assert found.weights["decoder.seg_layers.0.weight"].equal(torch.ones(2, 3))


def test_no_mirroring_is_no_axis(path: Path) -> None:
    torch.save(content(inference_allowed_mirroring_axes=None), path)
    assert read_checkpoint(path).mirror_axes == ()


class MakeFolder:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_code_in_a_checkpoint_is_not_run(path: Path, tmp_path: Path) -> None:
    torch.save(content(logging=MakeFolder(tmp_path / "run")), path)
    with pytest.raises(InputError, match=r"more than tensors.*it asks for \w+\.mkdir") as caught:
        read_checkpoint(path)
    assert not (tmp_path / "run").exists()
    assert caught.value.where == str(path) and "author" in caught.value.mend


def test_a_bare_pickle_is_not_opened(path: Path, tmp_path: Path) -> None:
    path.write_bytes(pickle.dumps(MakeFolder(tmp_path / "run")))
    with pytest.raises(InputError, match="no checkpoint that torch has written since"):
        read_checkpoint(path)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("share", [0.2, 0.9, 0.999])
def test_a_checkpoint_cut_off_is_refused(path: Path, share: float) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"checkpoint_final.pth (is cut off|cannot be read)"):
        read_checkpoint(path)


def test_a_compressed_checkpoint_is_refused(path: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    shutil.move(packed, path)
    with pytest.raises(InputError, match="compressed inside"):
        read_checkpoint(path)


def test_a_file_without_tensors_is_refused(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/notes.txt", "hello")
    with pytest.raises(InputError, match="cannot be read"):
        read_checkpoint(path)


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.pth is missing"):
        read_checkpoint(tmp_path / "none.pth")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"network_weights": [1]}, "not tensors by name"),
        ({"network_weights": {"a": 3}}, "not tensors by name"),
        ({"init_args": {"fold": 0}}, "does not name its configuration"),
        ({"inference_allowed_mirroring_axes": 3}, "no axes of a patch"),
        ({"inference_allowed_mirroring_axes": 0}, "no axes of a patch"),
        ({"inference_allowed_mirroring_axes": "012"}, "no axes of a patch"),
        ({"inference_allowed_mirroring_axes": (0, 3)}, "no axes of a patch"),
        ({"inference_allowed_mirroring_axes": [0.5]}, "no axes of a patch"),
        ({"trainer_name": None}, "does not name its configuration"),
    ],
)
def test_what_another_program_saved_is_refused(
    change: dict[str, Any], what: str, path: Path
) -> None:
    torch.save(content(**change), path)
    with pytest.raises(InputError, match=what):
        read_checkpoint(path)


def test_weights_alone_are_no_checkpoint(path: Path) -> None:
    torch.save({"a": torch.ones(2)}, path)
    with pytest.raises(InputError, match="it has no network_weights"):
        read_checkpoint(path)
