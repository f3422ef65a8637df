"""fednnunet_pseudolabel from its command line: label a site, review, accept, train on."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest
import torch

from fednnunet import records
from fednnunet.commands.pseudolabel import main
from fednnunet.dataset import read_dataset
from fednnunet.inference.bundle import read_bundle, write_bundle
from fednnunet.inference.reviewed import Digests
from fednnunet.network.unet import build_network
from tests.inference.conftest import make_plan


@pytest.fixture
def folder(tmp_path: Path, phantoms: ModuleType) -> Path:
    """A bundle, and a site of three cases of which the first has full labels."""
    plan = make_plan(patch=(16, 16, 16), spacing=(2.0, 2.0, 2.0))
    torch.manual_seed(0)
    architecture = plan.configurations[0].architecture
    network = build_network(architecture, channels=1, heads=3, norm=plan.norm)
    weights = network.state_dict()
    write_bundle(tmp_path / "bundle", plan=plan, configuration="3d_fullres", weights=weights)
    phantoms.make_federation(tmp_path, train=3, test=0)
    site = tmp_path / "south"
    for number in (1, 2):
        (site / "labelsTr" / f"south_{number:03d}.nii.gz").unlink()
    header = json.loads((site / "dataset.json").read_text())
    header["supervision"] = {
        "default": {"kind": "none"},
        "cases": {"south_000": {"kind": "full"}},
    }
    (site / "dataset.json").write_text(json.dumps(header))
    return tmp_path


def call(folder: Path, *arguments: str, site: str = "south") -> int:
    paths = [str(folder / "bundle"), "-i", str(folder / site), "-o", str(folder / "out")]
    return main([*paths, "--device", "cpu", *arguments])


def labelled_before(folder: Path) -> None:
    """The record that a call leaves of its bundle, without the labels."""
    digests = Digests(bundles=(read_bundle(folder / "bundle").digest,))
    records.write(digests, folder / "out" / "review" / "bundles.json")


def test_label_review_accept(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(folder) == 0
    said = capsys.readouterr().out
    assert "2 cases labelled" in said and "review.html" in said
    out = folder / "out"
    assert sorted(p.name for p in out.glob("*.nii.gz")) == ["south_001.nii.gz", "south_002.nii.gz"]
    assert (out / "uncertainty" / "south_001.nii.gz").is_file()
    assert (out / "review.html").stat().st_mode & 0o077 == 0  # the site's own eyes
    assert call(folder) == 0 and "0 cases labelled, 2 already present" in capsys.readouterr().out
    (folder / "accepted.txt").write_text("south_002\n")
    assert call(folder, "--accept", str(folder / "accepted.txt")) == 0
    assert "1 cases accepted" in capsys.readouterr().out
    bundle = read_bundle(folder / "bundle")
    cases = read_dataset(out / "accepted", bundle.plan.task).cases
    assert [case.labels.supervision.kind for case in cases] == ["full", "none", "pseudo"]
    assert cases[2].labels.source == f"bundle {bundle.digest}"


def test_everything_labels_the_full_cases_too(folder: Path) -> None:
    assert call(folder, "--everything") == 0
    assert len(list((folder / "out").glob("*.nii.gz"))) == 3


def test_a_site_with_full_labels_has_nothing_to_label(folder, capsys) -> None:
    assert call(folder, site="north") == 2
    assert "have full labels" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("names", "site", "words"),
    [
        ("south_000\n", "south", "no pseudo-label of south_000"),
        ("", "south", "names no case"),
        ("south_001\n", "south/imagesTr", "is not a site's folder"),
    ],
)
def test_what_cannot_be_accepted_is_named(folder, capsys, names, site, words) -> None:
    labelled_before(folder)
    (folder / "accepted.txt").write_text(names)
    assert call(folder, "--accept", str(folder / "accepted.txt"), site=site) == 2
    assert words in capsys.readouterr().err
    assert not (folder / "out" / "accepted").exists()


def test_the_masks_of_another_bundle_are_not_accepted(folder, capsys) -> None:
    labelled_before(folder)
    bundle = read_bundle(folder / "bundle")
    zeros = {name: torch.zeros_like(tensor) for name, tensor in bundle.weights.items()}
    write_bundle(folder / "bundle", plan=bundle.plan, configuration="3d_fullres", weights=zeros)
    (folder / "accepted.txt").write_text("south_001\n")
    assert call(folder, "--accept", str(folder / "accepted.txt")) == 2
    assert "another bundle" in capsys.readouterr().err
