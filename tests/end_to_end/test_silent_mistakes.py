"""Mistakes of a federation that used to pass without a word: refused, or mended and told."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fednnunet import io
from fednnunet.commands import check, plan
from fednnunet.planning.plan import read_plan
from tests.preprocess.turned import stored_as


def rename(site, **labels):
    """Give a site's dataset.json other labels."""
    path = site / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"labels": labels}))


def recode(site, old, new):
    """Write another value for a label into all of a site's label maps."""
    for path in sorted((site / "labelsTr").iterdir()):
        mask = io.read_label(path)
        array = np.where(mask.array[0] == old, new, mask.array[0]).astype(np.uint8)
        io.write_mask(array, mask.geometry, path)


def write_toml(root, old, new):
    path = root / "federation.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    return str(path)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({"background": 0, "core": 1, "ball": 2}, ("'core' has the value 1", "2 in the task")),
        ({"background": 0, "GTV": 1, "core": 2}, ("'GTV'", "'ball'", '{GTV = "ball"}')),
        ({"background": 0, "ball": 1, "core": 2, "rim": 3}, ("'rim' with the value 3",)),
    ],
)
def test_labels_under_other_names_are_refused(labels, words, federation, copy_of, capsys):
    root = copy_of(federation.parent)
    rename(root / "south", **labels)
    file = str(root / "federation.toml")
    assert plan.main([file, "-o", str(root / "run")]) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert all(word in said for word in ("site south, dataset.json", *words))
    assert check.main([str(root / "south"), "--federation", file]) == 2
    said = capsys.readouterr().err
    assert all(word in said for word in words)


@pytest.mark.parametrize("header", [True, False])
def test_label_maps_are_read_through_the_mapping_of_the_federation_file(
    header, federation, planned, copy_of
):
    root = copy_of(federation.parent)
    recode(root / "south", 1, 5)
    if header:
        rename(root / "south", background=0, GTV=5, core=2)
    else:
        (root / "south" / "dataset.json").unlink()
    before = {path: path.read_bytes() for path in (root / "south" / "labelsTr").iterdir()}
    entry = 'GTV = "ball"' if header else '5 = "ball"'
    file = write_toml(root, 'folder = "south"\n', f'folder = "south"\nlabel_names = {{{entry}}}\n')
    assert plan.main([file, "-o", str(root / "run")]) == 0
    whole, made = read_plan(planned / "plan.json"), read_plan(root / "run" / "plan.json")
    assert (made.label_cases, made.intensity) == (whole.label_cases, whole.intensity)
    assert {path: path.read_bytes() for path in before} == before
    command = [str(root / "south"), "--federation", file]
    assert check.main(command) == 0


def test_a_value_that_the_mapping_displaced_is_refused(federation, copy_of, capsys):
    """A label map with both 1 and 5, where only 5 is said to be the ball."""
    root = copy_of(federation.parent)
    rename(root / "south", background=0, GTV=5, core=2)
    file = write_toml(
        root, 'folder = "south"\n', 'folder = "south"\nlabel_names = {GTV = "ball"}\n'
    )
    assert plan.main([file, "-o", str(root / "run")]) == 2
    assert "label 1 in case_0.nii.gz is not one of the site's labels 0, 2, 5" in (
        capsys.readouterr().err
    )


def test_a_site_that_stores_its_volumes_otherwise_changes_no_plan(federation, planned, copy_of):
    root = copy_of(federation.parent)
    for path in sorted((root / "south").glob("*Tr/*.nii.gz")):
        volume = io.read_raw(path)
        io.write_volume(stored_as(volume, "PIR"), path)
    assert plan.main([str(root / "federation.toml"), "-o", str(root / "run")]) == 0
    whole, made = read_plan(planned / "plan.json"), read_plan(root / "run" / "plan.json")
    assert made.orientation == whole.orientation == "LPS"
    assert "PIR in 5, LPS in 10" in next(
        reason.because for reason in made.reasons if reason.decision == "orientation"
    )
    small = whole.configurations[0]  # the one that `make_planned` made smaller
    assert made.configuration("3d_fullres").spacing_mm == small.spacing_mm
    assert made.configuration("3d_fullres").median_shape_vox == small.median_shape_vox
    assert (made.intensity, made.transpose) == (whole.intensity, whole.transpose)
