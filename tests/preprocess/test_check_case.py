from __future__ import annotations

import numpy as np
import pytest

from fednnunet.preprocess.check_case import check_case, digest
from fednnunet.volume import Geometry
from tests.preprocess.small_cases import SHAPE, TASK, a_case

IMAGE = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE) - 300


def test_a_sound_case_has_its_properties_and_no_fault(tmp_path):
    found, faults = check_case(a_case(tmp_path, image=IMAGE), TASK)
    assert faults == []
    assert (found.shape_vox, found.spacing_mm) == (SHAPE, (2.0, 1.0, 1.0))
    assert found.lowest == (-300.0,)
    assert found.air == pytest.approx((100 / 480,))  # those below -200
    assert found.range == pytest.approx((0.98 * 479,))
    assert found.voxels == {"0": 420, "1": 60}
    assert found.files == ("one_0000.nii.gz",)


def test_each_fault_has_its_kind(tmp_path):
    image, label = IMAGE.copy(), np.zeros(SHAPE, np.uint8)
    image[0, 0, 0] = np.inf
    label[0, 0, 0] = 4
    elsewhere = Geometry(spacing_mm=(1.0, 1.0, 1.0))
    case = a_case(tmp_path, image=image, label=label, label_geometry=elsewhere)
    found, faults = check_case(case, TASK)
    assert {kind for kind, *_ in faults} == {"NaN or infinite", "label values", "grid"}
    assert found is not None


def test_a_case_whose_image_is_missing_has_no_properties(tmp_path):
    case = a_case(tmp_path)
    case.images[0].unlink()
    found, faults = check_case(case, TASK)
    assert found is None
    assert [kind for kind, *_ in faults] == ["unreadable"]


def test_a_digest_tells_voxels_and_shape():
    channel = np.arange(24.0).reshape(2, 3, 4)
    assert digest(channel) == digest(np.asfortranarray(channel))
    assert digest(channel) != digest(channel.reshape(3, 2, 4))
    assert digest(channel) != digest(channel + 1)
