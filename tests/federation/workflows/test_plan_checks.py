"""Checks before planning, on folders of files that no image library has to read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fednnunet.errors import FedNNUNetError, InputError, PlanError, RefusalError, single_faults
from fednnunet.federation.spec import Budget, Federation, SiteSpec
from fednnunet.federation.training_spec import Training
from fednnunet.federation.workflows.plan_checks import (
    CONFIGURATIONS,
    check_configuration,
    check_simulation,
    planning_notes,
)
from tests.planning.cases import TASK, make_cases, plan_of_cases


def make_site(folder, contents, *, min_cases=1):
    """A site with one case per entry of `contents`, the bytes of its images."""
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    for number, content in enumerate(contents):
        for channel in range(len(TASK.channels)):
            name = f"{folder.name}{number}_{channel:04d}.nii.gz"
            (folder / "imagesTr" / name).write_bytes(content + bytes([channel]))
        (folder / "labelsTr" / f"{folder.name}{number}.nii.gz").write_bytes(b"labels")
    (folder / "site.toml").write_text(f"min_cases = {min_cases}\nmin_bin_count = 1\n")
    return SiteSpec(folder=folder)


@pytest.fixture
def sites(tmp_path):
    return {
        "north": make_site(tmp_path / "north", (b"a", b"b")),
        "south": make_site(tmp_path / "south", (b"c", b"d")),
    }


def federation(sites, configuration="3d_fullres", **budget):
    training = Training(configuration=configuration)
    return Federation(task=TASK, sites=sites, budget=Budget(**budget), training=training)


def faults(found, **settings):
    """What `check_simulation` finds, one by one."""
    with pytest.raises(FedNNUNetError) as caught:
        check_simulation(found, **settings)
    return single_faults(caught.value)


def copy(site, file, other, name):
    content = (site.folder / "imagesTr" / file).read_bytes()
    place = other.folder / "imagesTr" / name
    place.write_bytes(content)
    return place


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_a_federation_without_faults_passes(configuration, sites):
    check_simulation(federation(sites, configuration))


def test_all_faults_come_at_once(sites, tmp_path):
    few = make_site(tmp_path / "west", (b"e",), min_cases=3)
    found = faults(federation({**sites, "south": sites["north"], "west": few}, "3d_fulres"))
    assert [type(fault) for fault in found] == [InputError, InputError, RefusalError]
    misspelt, shared, refused = found
    assert "(did you mean '3d_fullres'?)" in misspelt.what
    assert misspelt.where == "training.configuration"
    assert "north and south have the same folder" in shared.what
    assert refused.where.startswith("site west")
    assert "1 cases are fewer than the 3" in refused.what


def test_a_cascade_cannot_be_trained(sites):
    (fault,) = faults(federation(sites, "3d_cascade_fullres"))
    assert "cannot be trained yet" in fault.what


def test_one_folder_by_two_names_is_one_folder(sites, tmp_path):
    (tmp_path / "link").symlink_to(sites["north"].folder)
    for path in (tmp_path / "link", tmp_path / "south" / ".." / "north"):
        (fault,) = faults(federation({**sites, "again": SiteSpec(folder=path)}))
        assert "sites again and north have the same folder" in fault.what


def test_images_that_two_sites_share_are_counted_by_pairs_of_sites(sites):
    for number in range(2):
        copy(
            sites["north"], f"north{number}_0000.nii.gz", sites["south"], f"south{number}_0000.nii"
        )
        (sites["south"].folder / "imagesTr" / f"south{number}_0000.nii.gz").unlink()
    found = [f for f in faults(federation(sites)) if "in common" in f.what]
    assert [fault.what for fault in found] == [
        "sites north and south have 2 images in common, e.g. north0_0000.nii.gz and south0_0000.nii"
    ]


def test_test_images_are_compared_too(sites):
    place = sites["south"].folder / "imagesTs"
    place.mkdir()
    copy(sites["north"], "north1_0000.nii.gz", sites["south"], "../imagesTs/held_0000.nii.gz")
    (fault,) = faults(federation(sites))
    assert "1 image in common" in fault.what and "held_0000.nii.gz" in fault.what


def test_images_alike_at_both_ends_only_are_not_the_same(sites):
    """Beyond the ends that are compared first, every byte counts."""
    ends = bytes(1 << 16)
    for name, middle in (("north", b"1"), ("south", b"2")):
        (sites[name].folder / "imagesTr" / f"{name}0_0000.nii.gz").write_bytes(ends + middle + ends)
    check_simulation(federation(sites))


def test_the_same_image_twice_at_one_site_is_its_own_affair(sites):
    images = sites["north"].folder / "imagesTr"
    (images / "north1_0000.nii.gz").write_bytes((images / "north0_0000.nii.gz").read_bytes())
    check_simulation(federation(sites))


def test_a_site_that_is_left_out_is_not_looked_at(sites):
    twice = federation({**sites, "again": sites["north"]})
    assert faults(twice)
    check_simulation(twice, without={"again"})


def test_a_folder_that_is_not_there_is_left_to_the_site(sites):
    check_simulation(federation({**sites, "west": SiteSpec(folder=Path("nowhere"))}))


def test_a_configuration_must_be_in_the_plan_and_trainable():
    plan = plan_of_cases(make_cases(9), planner="plain")
    check_configuration(plan, "3d_fullres")
    with pytest.raises(PlanError, match="no configuration '4d'"):
        check_configuration(plan, "4d")
    whole = plan.configuration("3d_fullres")
    cascade = replace(whole, name="3d_cascade_fullres", previous="3d_lowres")
    with pytest.raises(PlanError, match=r"3d_cascade_fullres .* cannot be trained yet"):
        check_configuration(replace(plan, configurations=(whole, cascade)), cascade.name)


def test_memory_that_a_fixed_planner_ignores_is_told(sites):
    assert planning_notes(federation(sites, planner="cpu")) == ()
    assert planning_notes(federation(sites, planner="plain", memory_gib=24.0)) == ()
    (note,) = planning_notes(federation(sites, planner="cpu", memory_gib=24.0))
    assert "memory_gib does not change it" in note
    sites = {**sites, "north": SiteSpec(folder=sites["north"].folder, memory_gib=8.0)}
    assert planning_notes(federation(sites, planner="cpu")) == (note,)
