from __future__ import annotations

import json

import pytest

from fednnunet.dataset_header import read_header, task_of
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
