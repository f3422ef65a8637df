"""Files of boxes and tables of presence: what is read of them, and every fault of them."""

from __future__ import annotations

import json

import pytest

from fednnunet.case_labels import LabelBox
from fednnunet.label_tables import Presence, add_presence, read_boxes
from tests.label_kinds import BOXES

VALUES = {"background": 0, "a": 1, "b": 2}
HEAD = "case,label,present\n"


def boxes_in(folder, text):
    path = folder / "boxes.json"
    path.write_text(text)
    found, faults = read_boxes(path, VALUES, "berlin")
    return found, [str(fault) for fault in faults]


def presence_in(folder, text, name="presence.csv"):
    path, found = folder / name, {}
    path.write_text(text)
    faults = add_presence(found, path, VALUES, "berlin")
    return found, [str(fault) for fault in faults]


def test_boxes_are_read_by_case_with_their_unit(tmp_path):
    entries = [{"label": "b", "low": [-1.5, 0, 2], "high": [4, 5, 6.25]}]
    found, faults = boxes_in(tmp_path, json.dumps({"unit": "mm", "cases": {"x": entries}}))
    assert not faults
    box = LabelBox(label=2, low=(-1.5, 0.0, 2.0), high=(4.0, 5.0, 6.25), unit="mm")
    assert found == {"x": (box,)}


BAD_BOXES = {
    "negative size": ({"label": "a", "low": [5, 5, 5], "high": [5, 6, 6]}, "holds nothing"),
    "an unknown label": ({"label": "c", "low": [0, 0, 0], "high": [1, 1, 1]}, "label 'c'"),
    "half voxels": ({"label": "a", "low": [0.5, 0, 0], "high": [1, 1, 1]}, "between voxels"),
    "two axes": ({"label": "a", "low": [0, 0], "high": [1, 1]}, "not written as one"),
    "no number": ({"label": "a", "low": [0, 0, float("nan")], "high": [1, 1, 1]}, "not written"),
    "too far": ({"label": "a", "low": [0, 0, 0], "high": [1, 1, 1e9]}, "not written"),
    "a truth as a number": ({"label": "a", "low": [0, 0, 0], "high": [1, 1, True]}, "not written"),
    "no label": ({"low": [0, 0, 0], "high": [1, 1, 1]}, "not written as one"),
}


@pytest.mark.parametrize(("box", "said"), BAD_BOXES.values(), ids=BAD_BOXES)
def test_a_box_that_cannot_be_is_named_and_the_others_are_read(tmp_path, box, said):
    boxes = {**BOXES, "cases": {"box": [box, *BOXES["cases"]["box"]]}}
    found, (fault,) = boxes_in(tmp_path, json.dumps(boxes))
    assert said in fault and "a box of case box" in fault
    assert "site berlin" in fault and "$.cases.box[0]" in fault
    assert [one.label for one in found["box"]] == [1, 2]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"unit": "inch", "cases": {}}', "[" * 9000])
def test_a_file_of_boxes_that_is_none_is_one_fault(tmp_path, text):
    found, (fault,) = boxes_in(tmp_path, text)
    assert not found and "boxes.json" in fault


def test_a_file_that_is_missing_is_one_fault(tmp_path):
    (fault,) = read_boxes(tmp_path / "none.json", VALUES, "berlin")[1]
    assert "none.json cannot be read: No such file" in str(fault)
    (fault,) = add_presence({}, tmp_path / "none.csv", VALUES, "berlin")
    assert "none.csv cannot be read: No such file" in str(fault)


def test_tables_of_both_forms_add_to_what_is_known(tmp_path):
    known, faults = presence_in(tmp_path, HEAD + "x,a,1\nx,b,FALSE\ny,b,true\n")
    assert not faults
    assert known == {"x": Presence(present={1}, absent={2}), "y": Presence(present={2})}
    more = tmp_path / "more.json"
    more.write_text('{"y": {"a": 0}}')
    assert not add_presence(known, more, VALUES, "berlin")
    assert known["y"] == Presence(present={2}, absent={1})
    assert "y with the label a for a second time" in str(
        add_presence(known, more, VALUES, "berlin")[0]
    )


BAD_ROWS = {
    "an unknown class": ("x,c,1\n", "says '1' of 'c' in case x"),
    "a case twice": ("x,a,0\n", "has case x with the label a for a second time"),
    "no truth": ("x,b,perhaps\n", "says 'perhaps' of 'b'"),
    "a row too short": ("x,a\n", "has not three cells"),
    "a row too long": ("x,a,1,1\n", "has not three cells"),
}


@pytest.mark.parametrize(("row", "said"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_table_that_contradicts_itself_is_named(tmp_path, row, said):
    (fault,) = presence_in(tmp_path, HEAD + "x,a,1\n" + row)[1]
    assert said in fault and "presence.csv" in fault


BAD_FILES = {
    "other columns": ("case,label\nx,a\n", "p.csv", "has the columns ['case', 'label']"),
    "a case twice": ('{"x": {"a": true}, "x": {"b": 0}}', "p.json", "has 'x' twice"),
    "no table of a case": ('{"x": [1]}', "p.json", "has no table for case x"),
}


@pytest.mark.parametrize(("text", "name", "said"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_table_of_another_form_is_one_fault(tmp_path, text, name, said):
    found, (fault,) = presence_in(tmp_path, text, name)
    assert said in fault and not found
