"""What is wrong before anything is measured is found at once, all together."""

from __future__ import annotations

import shutil

import pytest

from fednnunet.errors import FedNNUNetError, PlanError
from fednnunet.federation.spec import read_federation
from fednnunet.federation.workflows.plan_checks import (
    check_configuration,
    check_simulation,
    planning_notes,
)
from tests.end_to_end.tiny import TOML, make_federation
from tests.planning.cases import make_cases, plan_of_cases


def read(root, **changes):
    path = make_federation(root)
    text = TOML
    for old, new in changes.values():
        text = text.replace(old, new)
    path.write_text(text)
    return read_federation(path)


def test_a_sound_federation_passes(tmp_path):
    check_simulation(read(tmp_path))


def test_all_that_is_wrong_is_told_together(tmp_path):
    configuration = ("rounds = 2", 'rounds = 2\nconfiguration = "3d_full"')
    federation = read(tmp_path, configuration=configuration)
    image = "imagesTr/case_1_0000.nii.gz"
    shutil.copy(tmp_path / "north" / image, tmp_path / "west" / "imagesTr/case_3_0000.nii.gz")
    (tmp_path / "south" / "site.toml").write_text("min_cases = 6\n")
    with pytest.raises(FedNNUNetError) as fault:
        check_simulation(federation)
    said = str(fault.value)
    for words in ("'3d_full'", "north and west have 1 image in common", "5 cases are fewer"):
        assert words in said
    with pytest.raises(FedNNUNetError) as fault:
        check_simulation(federation, without=("west", "south"))
    assert "in common" not in str(fault.value)


def test_files_of_one_size_and_with_the_same_ends_are_told_apart_by_their_contents(tmp_path):
    federation = read(tmp_path)
    for site, middle in (("north", b"a"), ("south", b"b")):
        ends = b"0" * (1 << 16)
        (tmp_path / site / "imagesTr" / "other_0000.nii").write_bytes(ends + middle + ends)
    check_simulation(federation)


def test_folders_that_cannot_be_used_are_left_to_the_sites(tmp_path):
    federation = read(tmp_path)
    shutil.rmtree(tmp_path / "north" / "imagesTr")
    check_simulation(federation)


def test_only_configurations_of_the_plan_without_a_cascade_are_trained():
    plan = plan_of_cases(make_cases(4, shape=(300, 512, 512)))
    check_configuration(plan, "3d_lowres")
    with pytest.raises(PlanError, match="cannot be trained yet"):
        check_configuration(plan, "3d_cascade_fullres")
    with pytest.raises(PlanError, match="no configuration"):
        check_configuration(plan, "4d")


def test_a_memory_is_noted_only_where_the_planner_ignores_it(tmp_path):
    assert planning_notes(read(tmp_path / "a")) == ()
    memory = ('planner = "cpu"', 'planner = "cpu"\nmemory_gib = 8')
    assert "memory_gib" in planning_notes(read(tmp_path / "b", memory=memory))[0]
    plain = ('planner = "cpu"', "memory_gib = 8")
    assert planning_notes(read(tmp_path / "c", memory=plain)) == ()
