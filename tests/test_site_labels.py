"""The kinds of labels of a site's cases, and every contradiction of what it says of them."""

from __future__ import annotations

import json

import pytest

from fednnunet.dataset import read_dataset, scan_dataset
from fednnunet.supervision import Supervision
from fednnunet.task import Task
from tests.label_kinds import ENTRIES, TASK, write_header, write_site

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


def test_a_label_that_the_site_does_not_name_is_no_background_of_full_cases(tmp_path):
    write_site(tmp_path, full=3, supervision={}, labels={"background": 0, "a": 1})
    found = words(tmp_path)
    assert "the labels lack ['b'], but" in found and "should be labelled in full" in found
    assert 'labels = "partial", annotated = ["a"]' in found
    assert "lack" not in words(tmp_path, agreed=AGREED)
    write_header(tmp_path, supervision={}, labels={"background": 0, "a": 1, "c": 5})
    assert "lack" not in words(tmp_path, label_names={"c": "b"})
    write_header(tmp_path, supervision={}, labels={})  # a file that says nothing of labels
    assert "lack" not in words(tmp_path)


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
