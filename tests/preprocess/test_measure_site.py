from __future__ import annotations

import dataclasses

import pytest

from fednnunet.errors import DataError, FedNNUNetError
from fednnunet.preprocess.measure_site import measure_cases
from fednnunet.volume import Geometry
from tests.preprocess.small_cases import TASK, a_case


def test_cases_are_measured_in_their_order_with_progress(tmp_path):
    wide = Geometry(spacing_mm=(2.0, 3.0, 1.0))
    cases = [a_case(tmp_path, "b", geometry=wide), a_case(tmp_path, "a")]
    seen = []
    found = measure_cases(cases, TASK, progress=lambda *step: seen.append(step))
    assert [case.spacing_mm for case in found] == [(2.0, 3.0, 1.0), (2.0, 1.0, 1.0)]
    assert [case.voxels_per_label[1] for case in found] == [60, 60]
    assert [done for done, *_ in seen][-1] == 2
    assert {total for _, total, _ in seen} == {2}


def test_the_faults_of_all_cases_come_together(tmp_path):
    cases = [a_case(tmp_path, name) for name in "abc"]
    for case in cases[:2]:
        case.images[0].write_bytes(b"no image")
    with pytest.raises(FedNNUNetError) as caught:
        measure_cases(cases, TASK)
    text = str(caught.value)
    assert "a_0000" in text and "b_0000" in text and "c_0000" not in text


def test_a_case_without_a_label_map_cannot_be_measured(tmp_path):
    case = dataclasses.replace(a_case(tmp_path), label=None)
    with pytest.raises(DataError, match="has no label"):
        measure_cases([case], TASK)
