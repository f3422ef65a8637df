"""fednnunet_predict from its command line, with a real network."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import SimpleITK
import torch

from fednnunet import io
from fednnunet.commands.predict import main
from fednnunet.inference.bundle import write_bundle
from fednnunet.network.unet import build_network
from fednnunet.planning.plan import Architecture, Configuration, Intensity, Plan, Stage
from fednnunet.task import Task


def _plan(labels: tuple[str, ...]) -> Plan:
    stages = (
        Stage(features=4, kernel=(3, 3, 3), stride=(1, 1, 1), convs=1, decoder_convs=1),
        Stage(features=8, kernel=(3, 3, 3), stride=(2, 2, 2), convs=1, decoder_convs=0),
    )
    configuration = Configuration(
        name="3d_fullres",
        spacing_mm=(2.0, 2.0, 2.0),
        patch_vox=(24, 24, 24),
        batch=2,
        median_shape_vox=(28.0, 28.0, 28.0),
        normalisation=("zscore",),
        use_mask=(False,),
        architecture=Architecture(kind="plain", stages=stages),
        batch_dice=False,
    )
    intensity = Intensity(
        mean=0.0, median=0.0, std=1.0, min=0.0, max=1.0, percentile_00_5=0.0, percentile_99_5=1.0
    )
    return Plan(
        task=Task(name="phantoms", channels=("MRI",), labels=labels),
        planner="plain",
        configurations=(configuration,),
        intensity=(intensity,),
        cases=3,
    )


@pytest.fixture
def folder(tmp_path: Path, phantoms: ModuleType) -> Path:
    """Two bundles of one plan, and two phantom cases."""
    plan = _plan(phantoms.LABELS)
    for name in ("one", "two"):
        torch.manual_seed(len(name))
        network = build_network(
            plan.configurations[0].architecture, channels=1, heads=3, norm=plan.norm
        )
        write_bundle(
            tmp_path / name,
            plan=plan,
            configuration="3d_fullres",
            weights=network.state_dict(),
        )
    for number in range(2):
        image, _ = phantoms.make_case(phantoms.HOSPITALS[1], seed=0, number=number)
        io.write_volume(image, tmp_path / "in" / f"case{number}_0000.nii.gz")
    return tmp_path


def _predict(folder: Path, bundle: str, *more: str) -> int:
    arguments = [bundle, "-i", str(folder / "in"), "-o", str(folder / "out"), "--device", "cpu"]
    return main([*arguments, *more])


def test_a_folder_is_predicted_and_then_kept(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _predict(folder, str(folder / "one")) == 0
    assert "2 masks written" in capsys.readouterr().out
    for number in range(2):
        mask = SimpleITK.ReadImage(str(folder / "out" / f"case{number}.nii.gz"))
        image = SimpleITK.ReadImage(str(folder / "in" / f"case{number}_0000.nii.gz"))
        assert mask.GetSize() == image.GetSize()
        assert mask.GetDirection() == image.GetDirection()
        assert mask.GetOrigin() == pytest.approx(image.GetOrigin())
    assert _predict(folder, str(folder / "one")) == 0
    assert "0 masks written" in capsys.readouterr().out
    both = f"{folder / 'one'},{folder / 'two'}"
    assert _predict(folder, both) == 0
    assert "2 masks written" in capsys.readouterr().out


def test_a_broken_case_gives_code_2_and_the_others(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "in" / "case0_0000.nii.gz"
    path.write_bytes(path.read_bytes()[:5000])
    assert _predict(folder, str(folder / "one")) == 2
    assert "case0_0000.nii.gz cannot be read" in capsys.readouterr().err
    assert (folder / "out" / "case1.nii.gz").is_file()
    assert not (folder / "out" / "case0.nii.gz").exists()


@pytest.mark.parametrize("what", ["bundle", "input", "device"])
def test_what_is_not_there_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    bundle = "nowhere" if what == "bundle" else str(folder / "one")
    more = ["-i", str(folder / "nowhere")] if what == "input" else []
    more += ["--device", "abacus"] if what == "device" else []
    assert _predict(folder, bundle, *more) == 2
    error = capsys.readouterr().err
    assert ("abacus" if what == "device" else "nowhere") in error
    assert "mend:" in error
    assert not (folder / "out").exists()
