"""Mistakes of a federation that used to pass without a word: refused, or mended and told."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from fednnunet import io
from fednnunet.commands import check, plan
from fednnunet.federation.site import site
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


def share(one, other, count):
    """Give a site images of another, under other names."""
    for number in range(count):
        name = f"case_{number}_0000.nii.gz"
        shutil.copy(one / "imagesTr" / name, other / "imagesTr" / name)


MISTAKES = {
    "the same folder": (
        lambda root: write_toml(root, 'folder = "south"', 'folder = "north/../north"'),
        ("sites north and south have the same folder", "sites.south.folder"),
    ),
    "the same images": (
        lambda root: share(root / "west", root / "south", 2),
        ("sites south and west have 2 images in common", "case_0_0000.nii.gz"),
    ),
    "too few cases": (
        lambda root: (root / "south" / "site.toml").write_text("min_cases = 9\n"),
        ("5 cases are fewer than the 9", "site south"),
    ),
    "an unknown device": (
        lambda root: write_toml(root, 'device = "cpu"', 'device = "gpu"'),
        ("no device 'gpu' (did you mean cuda?)",),
    ),
    "a misspelt configuration": (
        lambda root: write_toml(root, "rounds = 2", 'rounds = 2\nconfiguration = "3d_fulres"'),
        ("'3d_fulres' (did you mean '3d_fullres'?)", "training.configuration"),
    ),
    "a cascade": (
        lambda root: write_toml(
            root, "rounds = 2", 'rounds = 2\nconfiguration = "3d_cascade_fullres"'
        ),
        ("cannot be trained yet",),
    ),
    "more sites a round than train": (
        lambda root: write_toml(root, "rounds = 2", "rounds = 2\nsites_per_round = 9"),
        ("sites_per_round is 9, but only 2 sites train", "at most 2"),
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_what_cannot_go_well_is_found_before_any_case_is_measured(
    name, federation, copy_of, capsys, monkeypatch
):
    root = copy_of(federation.parent)
    spoil, words = MISTAKES[name]
    spoil(root)
    monkeypatch.setattr(site, "measure_cases", None)
    assert plan.main([str(root / "federation.toml"), "-o", str(root / "run")]) == 2
    said = capsys.readouterr().err
    assert said.count("error:") == 1
    assert all(word in said for word in words)
    assert not (root / "run").exists()


def test_a_configuration_that_the_plan_lacks_is_found_by_planning(federation, copy_of, capsys):
    root = copy_of(federation.parent)
    file = write_toml(root, "rounds = 2", 'rounds = 2\nconfiguration = "3d_lowres"')
    assert plan.main([file, "-o", str(root / "run")]) == 2
    said = capsys.readouterr().err
    assert "no configuration '3d_lowres'" in said
    assert "choose one of: 2d, 3d_fullres" in said


def test_a_memory_that_the_planner_ignores_is_told(federation, copy_of, capsys):
    root = copy_of(federation.parent)
    file = write_toml(root, 'planner = "cpu"', 'planner = "cpu"\nmemory_gib = 24')
    assert plan.main([file, "-o", str(root / "run")]) == 0
    assert "memory_gib does not change it" in " ".join(capsys.readouterr().out.split())


def test_a_site_with_too_few_cases_is_not_fit(federation, copy_of, capsys):
    root = copy_of(federation.parent)
    (root / "south" / "site.toml").write_text("min_cases = 9\n")
    assert check.main([str(root / "south")]) == 2
    assert "5 cases are fewer than the 9" in capsys.readouterr().err
