import json

import pytest

from fednnunet.dataset import Case, folds, list_images, read_dataset, scan_dataset, split_cases
from fednnunet.errors import DataError, InputError, ManyFaults
from fednnunet.task import Task

TASK = Task(name="t", channels=("T1", "T2"), labels=("background", "a", "b"))


def _site(folder, cases=("p2", "p1"), channels=(0, 1), labels=True):
    for name in cases:
        for channel in channels:
            path = folder / "imagesTr" / f"{name}_{channel:04d}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        if labels:
            (folder / "labelsTr").mkdir(exist_ok=True)
            (folder / "labelsTr" / f"{name}.nii.gz").touch()
    return folder


def _header(folder, **fields):
    (folder / "dataset.json").write_text(json.dumps(fields))


def test_cases_are_sorted_with_their_channels_in_order(tmp_path):
    dataset = read_dataset(_site(tmp_path), TASK)
    assert [case.name for case in dataset.cases] == ["p1", "p2"]
    assert [path.name for path in dataset.cases[0].images] == [
        "p1_0000.nii.gz",
        "p1_0001.nii.gz",
    ]
    assert dataset.cases[0].group == "p1"


def test_groups_come_from_dataset_json(tmp_path):
    _header(_site(tmp_path), groups={"p1": "anna", "p2": "anna"})
    assert {case.group for case in read_dataset(tmp_path, TASK).cases} == {"anna"}


def test_a_missing_folder_is_named_with_the_site(tmp_path):
    with pytest.raises(DataError) as fault:
        read_dataset(tmp_path / "nowhere", TASK, site="berlin")
    assert "berlin" in fault.value.where
    assert fault.value.mend


def test_all_faults_of_a_folder_come_at_once(tmp_path):
    _site(tmp_path)
    _site(tmp_path, cases=["shifted"], channels=(1, 2))
    _site(tmp_path, cases=["unlabelled"], labels=False)
    (tmp_path / "imagesTr" / "nonumber.nii.gz").touch()
    (tmp_path / "imagesTr" / "p1_0000.nrrd").touch()
    (tmp_path / "labelsTr" / "orphan.nii.gz").touch()
    _header(tmp_path, channel_names={"0": "CT", "1": "T2"}, labels={"background": 0, "x": 7})
    with pytest.raises(ManyFaults) as faults:
        read_dataset(tmp_path, TASK, site="oslo")
    text = str(faults.value)
    for word in ("shifted", "unlabelled", "nonumber", "p1_0000.nrrd", "orphan", "['CT'", "value 7"):
        assert word in text
    assert len(faults.value.faults) == 7
    dataset, found = scan_dataset(tmp_path, TASK)
    assert len(found) == 7
    assert {case.name for case in dataset.cases} == {"p1", "p2", "shifted", "unlabelled"}


def test_unlabelled_images_may_be_allowed(tmp_path):
    dataset = read_dataset(_site(tmp_path, labels=False), TASK, require_labels=False)
    assert [case.label for case in dataset.cases] == [None, None]


def test_broken_dataset_json_is_a_fault(tmp_path):
    (_site(tmp_path) / "dataset.json").write_text("{")
    with pytest.raises(DataError, match="not JSON"):
        read_dataset(tmp_path, TASK)


def test_list_images_of_a_flat_folder(tmp_path):
    _site(tmp_path)
    assert [case.name for case in list_images(tmp_path / "imagesTr", 2)] == ["p1", "p2"]
    with pytest.raises(InputError):
        list_images(tmp_path / "imagesTr", 1)
    with pytest.raises(InputError):
        list_images(tmp_path / "nowhere", 1)


def _cases(count, per_group=1):
    return [
        Case(name=f"c{i:03d}", images=(), label=None, group=f"g{i // per_group}")
        for i in range(count)
    ]


@pytest.mark.parametrize("count, per_group, held", [(10, 1, 2), (2, 1, 1), (1, 1, 0), (4, 4, 0)])
def test_split_holds_out_whole_groups(count, per_group, held):
    cases = _cases(count, per_group)
    train, out = split_cases(cases, fraction=0.2, seed=5)
    assert len(out) == held
    assert not {c.group for c in train} & {c.group for c in out}
    assert sorted(c.name for c in (*train, *out)) == [c.name for c in cases]


def test_split_depends_on_names_and_seed_alone():
    cases = _cases(30, per_group=2)
    assert split_cases(cases, fraction=0.3, seed=1) == split_cases(
        reversed(cases), fraction=0.3, seed=1
    )
    assert split_cases(cases, fraction=0.3, seed=1) != split_cases(cases, fraction=0.3, seed=2)


def test_folds_use_each_case_once_for_validation():
    cases = _cases(23, per_group=2)
    pairs = folds(cases, count=5)
    validated = sorted(case.name for _, out in pairs for case in out)
    assert validated == [case.name for case in cases]
    for train, out in pairs:
        assert not {c.group for c in train} & {c.group for c in out}
    with pytest.raises(InputError):
        folds(cases[:6], count=5)
