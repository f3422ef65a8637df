"""Which series belong together, decided by the headers alone."""

from __future__ import annotations

from pathlib import Path

from fednnunet.preprocess.dicom_cases import Channel, pair
from fednnunet.preprocess.dicom_scan import Series, Slice

CT = (Channel(name="CT"),)
MR = (Channel(name="T1", pattern="t1"), Channel(name="T2", pattern="t2"))


def series(uid, modality="CT", **changes):
    part = Slice(path=Path(uid) / "1.dcm", uid=uid, frames=1, pixels=1, position_mm=None, axes=None)
    values = {
        "uid": uid,
        "modality": modality,
        "patient": "p",
        "study": "s",
        "frame": "",
        "description": "",
        "refers_to": (),
        "slices": [part],
    }
    return Series(**(values | changes))


def uids(found):
    return [tuple(one.uid for one in case.channels) for case in found.cases]


def test_a_segmentation_finds_the_image_that_it_names():
    found = pair([series("a"), series("b"), series("seg", "SEG", refers_to=("b",))], CT)
    assert uids(found) == [("b",)]
    assert found.notes == ("skipped: 1 image series without a segmentation",)


def test_without_a_name_the_only_image_of_the_same_frame_is_taken():
    seg = series("seg", "SEG", frame="f")
    assert uids(pair([series("a", frame="f"), series("b", frame="g"), seg], CT)) == [("a",)]
    found = pair([series("a", frame="f"), series("b", frame="f"), seg], CT)
    assert not found.cases
    assert "refers to 2 image series" in found.faults[0].what


def test_a_segmentation_of_an_absent_image_is_a_fault():
    found = pair([series("a"), series("seg", "SEG", refers_to=("gone",))], CT)
    assert [fault.what for fault in found.faults] == [
        "a SEG refers to no image series in this folder"
    ]


def test_segmentations_of_one_image_are_one_case():
    parts = [series(name, "RTSTRUCT", refers_to=("a",)) for name in ("r1", "r2")]
    (case,) = pair([series("a"), *parts], CT).cases
    assert [one.uid for one in case.references] == ["r1", "r2"]


def test_channels_come_from_the_study_of_the_image_and_must_fit_one_series():
    t1 = series("a", "MR", description="ax T1")
    t2 = series("b", "MR", description="ax T2")
    other = series("c", "MR", description="ax T2", study="another")
    seg = series("seg", "SEG", refers_to=("a",))
    assert uids(pair([t1, t2, other, seg], MR)) == [("a", "b")]
    twice = series("d", "MR", description="T2 again")
    assert "2 series of a study fit channel T2" in pair([t1, t2, twice, seg], MR).faults[0].what


def test_a_series_that_does_not_fit_the_only_pattern_is_a_fault():
    found = pair(
        [series("a"), series("s", "SEG", refers_to=("a",))], (Channel(name="C", pattern="x"),)
    )
    assert "does not fit the pattern 'x'" in found.faults[0].what


def test_other_modalities_are_skipped_with_a_note():
    assert pair([series("x", "SR")], CT).notes == ("skipped: SR series (1 files)",)


def test_the_order_of_cases_is_that_of_a_hash_and_not_of_names():
    images = [series(f"{n}") for n in range(8)]
    segs = [series(f"s{n}", "SEG", refers_to=(f"{n}",)) for n in range(8)]
    found = pair([*images, *segs], CT)
    assert uids(found) == uids(pair([*reversed(segs), *reversed(images)], CT))
    assert uids(found) != sorted(uids(found))
