"""One regular stack of slices, or a reason why a series is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fednnunet.errors import DataError, InputError
from fednnunet.preprocess.dicom_scan import Series, Slice, in_order, reading, scan

AXES = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def stack(places, axes=AXES):
    slices = [
        Slice(path=Path(f"{n}"), uid=f"{n}", frames=1, pixels=4, position_mm=place, axes=axes)
        for n, place in enumerate(places)
    ]
    return Series(
        uid="u",
        modality="CT",
        patient="",
        study="",
        frame="",
        description="",
        refers_to=(),
        slices=slices,
    )


def upright(*heights):
    return [(0.0, 0.0, height) for height in heights]


def test_slices_are_sorted_by_their_positions():
    assert [p.name for p in in_order(stack(upright(4.0, 0.0, 2.0, 6.0)))] == ["1", "2", "0", "3"]


def test_a_little_unevenness_is_taken():
    assert len(in_order(stack(upright(0.0, 2.0, 4.05, 6.0)))) == 4


@pytest.mark.parametrize(
    ("places", "words"),
    [
        (upright(0.0), "single slice"),
        (upright(0.0, 2.0, 4.0, 10.0, 12.0), "misses slices: about 2 at 1 places"),
        (upright(0.0, 2.0, 3.2, 5.2), "uneven distances"),
        (upright(0.0, 2.0, 2.0, 4.0), "several slices at one position"),
        ([(0.0, 0.5 * n, 2.0 * n) for n in range(4)], "tilted gantry"),
        ([None, None], "does not state the positions"),
    ],
)
def test_what_is_not_one_regular_stack_is_refused(places, words):
    with pytest.raises(DataError, match=words):
        in_order(stack(places))


def test_mixed_orientations_are_refused():
    series = stack(upright(0.0, 2.0))
    series.slices += stack(upright(4.0), axes=(0.0, 1.0, 0.0, 0.0, 0.0, -1.0)).slices
    with pytest.raises(DataError, match="mixes orientations"):
        in_order(series)


def test_a_missing_folder_is_named(tmp_path):
    pytest.importorskip("pydicom")
    with pytest.raises(InputError, match="none is missing"):
        scan(tmp_path / "none")


def test_files_that_are_not_dicom_are_passed_over_and_damaged_ones_are_faults(tmp_path):
    pytest.importorskip("pydicom")
    from tests.preprocess.dicom_files import write_series

    write_series(tmp_path, np.zeros((3, 4, 5)), uid="1.2.3")
    (tmp_path / "note.txt").write_text("a note")
    damaged = sorted(tmp_path.glob("*.dcm"))[0]
    content = damaged.read_bytes()
    assert b"-30.0" in content  # ImagePositionPatient
    damaged.write_bytes(content.replace(b"-30.0", b"x30.0"))
    (series,), faults = scan(tmp_path)
    assert (series.uid, len(series.slices)) == ("1.2.3", 2)
    assert [fault.where for fault in faults] == [str(damaged)]


def test_what_a_library_raises_becomes_one_of_our_errors_without_escapes():
    with pytest.raises(DataError, match="KeyError") as caught, reading("a file", "here"):
        raise KeyError("\x1b[2J")
    assert "\x1b" not in str(caught.value)
    with pytest.raises(InputError), reading("a file", "here"):
        raise InputError("ours", mend="as it is")
