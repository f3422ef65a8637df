from __future__ import annotations

import json

import pytest

from fednnunet.dataset_header import Header, named_values, read_header, task_of
from fednnunet.errors import InputError
from fednnunet.task import Task

TASK = Task(name="t", channels=("T1", "T2"), labels=("background", "a", "b"))


def _header(folder, **fields):
    (folder / "dataset.json").write_text(json.dumps(fields))


def test_a_task_is_read_from_dataset_json(tmp_path):
    _header(
        tmp_path,
        channel_names={"1": "T2", "0": "T1"},
        labels={"background": 0, "whole": [1, 2], "core": 2, "ignore": 3},
    )
    task = task_of(tmp_path)
    assert task.channels == ("T1", "T2")
    assert task.labels == ("background", "label 1", "core")
    assert task.regions == {"whole": (1, 2), "core": (2,)}
    assert task.ignore == 3
    with pytest.raises(InputError, match="missing"):
        task_of(tmp_path / "nowhere")


def test_without_a_file_there_is_nothing_to_compare(tmp_path):
    assert read_header(tmp_path, TASK) == Header()


def test_differences_from_the_task_are_faults_with_the_name_of_the_site(tmp_path):
    _header(tmp_path, channel_names={"0": "t1", "1": "CT"}, labels={"background": 0, "x": 7})
    header = read_header(tmp_path, TASK, "berlin")
    faults = header.faults
    assert header.fields["labels"]["x"] == 7
    assert [fault.where.split(",")[0] for fault in faults] == ["site berlin"] * 2
    assert "lacks the channel 'T2'" in faults[0].what
    assert "'x' with the value 7" in faults[1].what


def test_the_case_of_letters_in_channels_does_not_matter_but_their_order_does(tmp_path):
    _header(tmp_path, channel_names={"0": "t1", "1": "t2"}, labels={"background": 0})
    assert read_header(tmp_path, TASK).faults == ()
    _header(tmp_path, channel_names={"0": "T2", "1": "T1"}, labels={"background": 0})
    assert len(read_header(tmp_path, TASK).faults) == 1


def test_files_of_the_first_nnunet_map_values_to_names(tmp_path):
    _header(tmp_path, modality={"0": "MRI"}, labels={"0": "background", "1": "organ"})
    assert task_of(tmp_path).labels == ("background", "organ")
    assert task_of(tmp_path).channels == ("MRI",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ("[1]", "must be a table"),
        ("[" * 100_000, "not JSON"),
        ('{"channel_names": {"0": "MRI"}}', "names no channels or no labels"),
        ('{"channel_names": {"0": "MRI"}, "labels": {"a": 1e9}}', "label value 1000000000"),
    ],
)
def test_a_file_that_gives_no_task_is_refused(tmp_path, text, words):
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(InputError, match=words):
        task_of(tmp_path)


def test_every_value_of_labels_and_regions_is_named():
    labels = {"background": 0, "whole": [1, 2], "core": [2]}
    assert named_values({"labels": labels}) == {0, 1, 2}
    assert named_values({"labels": {"0": "background", "3": "liver"}}) == {0, 3}
    assert named_values({}) == named_values({"labels": 3}) == frozenset()
