"""The kinds of labels of a site's cases, and every contradiction of what it says of them."""

from __future__ import annotations

import json

import pytest

from fednnunet.dataset import read_dataset, scan_dataset
from fednnunet.supervision import Supervision
from fednnunet.task import Task
from tests.label_kinds import BOXES, ENTRIES, TASK, write_header, write_site

AGREED = Supervision(kind="partial", annotated=(1,))


def labels_of(folder, **options):
    return {case.name: case.labels for case in read_dataset(folder, TASK, **options).cases}


def words(folder, **options):
    return "\n".join(str(fault) for fault in scan_dataset(folder, TASK, **options)[1])


def entries(**changes):
    return {"cases": {**ENTRIES, **changes}}


def test_every_kind_is_read_with_its_files(tmp_path):
    found = labels_of(write_site(tmp_path))
    assert found["full_0"].supervision == Supervision()
    assert found["partial"].supervision == AGREED
    assert found["scribble"].supervision == Supervision(kind="scribble")
    assert found["scribble"].unmarked == 9
    assert found["image"].supervision == Supervision(kind="image", present=(1,), absent=(2,))
    assert found["none"].supervision == Supervision(kind="none")
    (first, second) = found["box"].boxes or ()
    assert (first.label, first.low, first.high) == (1, (2, 3, 4), (6, 7, 8))
    assert second.label == 2
    assert [name for name, labels in found.items() if labels.can_score] == [
        "full_0",
        "full_1",
        "partial",
    ]


def test_the_default_is_for_cases_that_are_not_named(tmp_path):
    write_site(
        tmp_path, supervision={**entries(), "default": {"kind": "partial", "annotated": ["a"]}}
    )
    assert labels_of(tmp_path)["full_0"].supervision == AGREED


def test_the_short_form_names_the_classes_of_partial_cases(tmp_path):
    write_site(tmp_path, annotated={"full_0": ["a"], "full_1": ["b", "a"]})
    found = labels_of(tmp_path)
    assert found["full_0"].supervision == AGREED
    assert found["full_1"].supervision == Supervision()


def test_the_federation_file_holds_for_what_the_site_does_not_say(tmp_path):
    scribbled = {"scribble": ENTRIES["scribble"], "none": {"kind": "none"}}
    write_site(tmp_path, full=1, supervision={"cases": scribbled})
    dataset, _ = scan_dataset(tmp_path, TASK, agreed=AGREED)
    found = {case.name: case.labels.supervision for case in dataset.cases}
    assert found["full_0"] == AGREED
    assert found["scribble"] == Supervision(kind="scribble", annotated=(1,))
    assert found["none"] == Supervision(kind="none")


def test_more_classes_than_the_federation_file_says_are_a_contradiction(tmp_path):
    write_site(tmp_path, supervision=entries(full_0={"kind": "full"}))
    found = words(tmp_path, agreed=AGREED)
    assert "case full_0 annotates ['b'], which the federation file says" in found
    assert "partial annotates" not in found


CONTRADICTIONS = {
    "an unknown kind": ({"none": {"kind": "doodle"}}, "choose one of: full, partial, scribble"),
    "an unknown field": ({"none": {"kind": "none", "colour": 1}}, "unknown field 'colour'"),
    "a case without an image": ({"nobody": {"kind": "none"}}, "labels case nobody has, but there"),
    "none with a map": ({"full_0": {"kind": "none"}}, "case full_0 has a label map, but labels of"),
    "full without a map": ({"none": {"kind": "full"}}, "case none has no label map"),
    "partial without classes": ({"partial": {"kind": "partial"}}, "annotates nothing"),
    "an unknown class": ({"partial": {"kind": "partial", "annotated": ["c"]}}, "annotates ['c']"),
    "full of some classes": ({"full_0": {"kind": "full", "annotated": ["a"]}}, "has 'annotated'"),
    "marks without a value": ({"scribble": {"kind": "scribble"}}, "nothing says which value"),
    "a class as unmarked": ({"scribble": {"kind": "scribble", "unmarked": 1}}, "is a class"),
    "boxes nowhere": ({"box": {"kind": "box"}}, "in a file and in its map, or nowhere"),
    "boxes of another kind": (
        {"box": {"kind": "none"}, "none": {"kind": "box", "boxes": "boxes.json"}},
        "case box, which is of kind 'none'",
    ),
    "boxes twice": ({"box": {"kind": "box", "boxes": "boxes.json", "map": True}}, "or nowhere"),
    "a file outside": ({"box": {"kind": "box", "boxes": "../boxes.json"}}, "not a file in the"),
    "a file that is missing": ({"box": {"kind": "box", "boxes": "b.json"}}, "No such file"),
    "boxes of other classes": (
        {"box": {"kind": "box", "boxes": "boxes.json", "annotated": ["a"]}},
        "case box has boxes of ['b'], not annotated",
    ),
    "no row in the table": (
        {"full_0": {"kind": "image", "presence": "presence.csv"}},
        "no table says what it contains",
    ),
}


@pytest.mark.parametrize(("change", "said"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_a_contradiction_is_named(tmp_path, change, said):
    write_site(tmp_path, supervision=entries(**change))
    assert said in words(tmp_path)


def test_all_contradictions_come_at_once(tmp_path):
    several = {"none": {"kind": "doodle"}, "nobody": {"kind": "none"}, "box": {"kind": "box"}}
    write_site(tmp_path, supervision=entries(**several), annotated={"partial": ["a"]})
    found = words(tmp_path)
    for said in ("cannot be 'doodle'", "nobody", "boxes of case box", 'in "annotated" and in'):
        assert said in found
    assert found.count("mend:") == found.count("where:") >= 4


BAD_BOXES = {
    "negative size": ({"label": "a", "low": [5, 5, 5], "high": [5, 6, 6]}, "holds nothing"),
    "an unknown label": ({"label": "c", "low": [0, 0, 0], "high": [1, 1, 1]}, "label 'c'"),
    "half voxels": ({"label": "a", "low": [0.5, 0, 0], "high": [1, 1, 1]}, "between voxels"),
    "two axes": ({"label": "a", "low": [0, 0], "high": [1, 1]}, "not written as one"),
    "no number": ({"label": "a", "low": [0, 0, float("nan")], "high": [1, 1, 1]}, "not written"),
    "no label": ({"low": [0, 0, 0], "high": [1, 1, 1]}, "not written as one"),
}


@pytest.mark.parametrize(("box", "said"), BAD_BOXES.values(), ids=BAD_BOXES)
def test_a_box_that_cannot_be_is_named(tmp_path, box, said):
    write_site(tmp_path)
    boxes = {**BOXES, "cases": {"box": [box, *BOXES["cases"]["box"]]}}
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    found = words(tmp_path)
    assert said in found and "a box of case box" in found and "$.cases.box[0]" in found


BAD_TABLES = {
    "an unknown class": ("image,c,1\n", "says '1' of 'c' in case image"),
    "a case twice": ("image,a,0\n", "has case image with the label a for a second time"),
    "no truth": ("image,b,perhaps\n", "says 'perhaps' of 'b'"),
    "a case without an image": ("nobody,a,1\n", "what labels case nobody has"),
    "a row too short": ("image,a\n", "has not three cells"),
}


@pytest.mark.parametrize(("row", "said"), BAD_TABLES.values(), ids=BAD_TABLES)
def test_a_table_that_contradicts_itself_is_named(tmp_path, row, said):
    write_site(tmp_path)
    (tmp_path / "presence.csv").write_text("case,label,present\nimage,a,1\n" + row)
    assert said in words(tmp_path)


def test_a_table_may_be_json_in_which_no_case_stands_twice(tmp_path):
    entry = {"kind": "image", "presence": "p.json"}
    write_site(tmp_path, supervision=entries(image=entry))
    (tmp_path / "p.json").write_text('{"image": {"a": true, "b": 0}}')
    said = labels_of(tmp_path)["image"].supervision
    assert said == Supervision(kind="image", present=(1,), absent=(2,))
    (tmp_path / "p.json").write_text('{"image": {"a": true}, "image": {"b": 0}}')
    assert "has 'image' twice" in words(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"unit": "inch", "cases": {}}', "[" * 9000])
def test_a_file_of_boxes_that_is_none_is_one_fault(tmp_path, text):
    write_site(tmp_path)
    (tmp_path / "boxes.json").write_text(text)
    assert "boxes.json" in words(tmp_path)


def test_boxes_need_a_bit_for_their_class(tmp_path):
    names = ("background", *(f"c{value}" for value in range(1, 20)))
    task = Task(name="t", channels=("MRI",), labels=names)
    write_site(tmp_path)
    boxes = {"unit": "voxel", "cases": {"box": [{"label": "c16", "low": [0] * 3, "high": [1] * 3}]}}
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    write_header(
        tmp_path,
        labels={name: value for value, name in enumerate(names)},
        supervision={"cases": {**ENTRIES, "partial": {"kind": "partial", "annotated": ["c1"]}}},
    )
    found = "\n".join(str(fault) for fault in scan_dataset(tmp_path, task)[1])
    assert "whose value is above 15" in found
