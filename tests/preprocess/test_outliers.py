import numpy as np
import pytest

from fednnunet.preprocess.check_case import CaseProperties
from fednnunet.preprocess.outliers import outliers
from fednnunet.task import Task

MR = Task(name="t", channels=("MRI",), labels=("background", "a"))
CT = Task(name="t", channels=("CT",), labels=("background", "a"))


def _case(name, **changes):
    usual = {
        "case": name,
        "shape_vox": (36, 50, 35),
        "spacing_mm": (1.0, 1.0, 1.0),
        "orientation": "LPS",
        "files": (f"{name}_0000.nii.gz",),
        "digests": (name,),
        "range": (800.0,),
        "lowest": (0.0,),
        "air": (0.0,),
        "voxels": {"0": 9, "1": 1},
    }
    return CaseProperties(**(usual | changes))


def _site(count, seed=0, **changes):
    """Cases that vary by a few percent."""
    rng = np.random.default_rng(seed)
    cases = []
    for number in range(count):
        shape = tuple(round(n * rng.uniform(0.85, 1.15)) for n in (36, 50, 35))
        scale = 800 * rng.uniform(0.6, 1.6)
        cases.append(_case(f"c{number}", shape_vox=shape, range=(scale,), **changes))
    return cases


@pytest.mark.parametrize(
    "changes, word",
    [
        ({"spacing_mm": (3.0, 1.0, 1.0)}, "spacing in mm along z is 3"),
        ({"shape_vox": (180, 256, 256)}, "number of voxels along z is 180"),
        ({"air": (0.6,), "lowest": (-1000.0,)}, "looks like CT"),
    ],
)
def test_a_case_of_another_task_is_told_with_its_reason(changes, word):
    found = outliers([*_site(8), _case("foreign", **changes)], MR)
    assert [one.properties.case for one in found] == ["foreign"]
    assert word in found[0].reasons


def test_an_mri_among_cts_is_told():
    air = {"air": (0.5,), "lowest": (-1000.0,)}
    found = outliers([*_site(8, **air), _case("foreign")], CT)
    assert [one.properties.case for one in found] == ["foreign"]


def test_a_lone_ct_in_an_mri_task_is_told_even_without_others():
    assert outliers([_case("one", air=(0.6,), lowest=(-1000.0,))], MR)
    assert not outliers([_case("one", air=(0.6,), lowest=(-1000.0,))], CT)


@pytest.mark.parametrize("seed", range(5))
def test_sites_that_vary_by_nature_are_left_in_peace(seed):
    rng = np.random.default_rng(seed)
    cases = [
        _case(
            f"c{number}",
            shape_vox=(int(rng.integers(40, 600)), 512, 512),
            spacing_mm=(float(rng.choice([1.0, 1.5, 2.5, 5.0])), *[rng.uniform(0.6, 0.98)] * 2),
            air=(rng.uniform(0.2, 0.6),),
            lowest=(-1024.0,),
            range=(rng.uniform(1200, 2500),),
        )
        for number in range(30)
    ]
    assert outliers(cases, CT) == []


def test_another_scale_of_intensities_is_worth_a_look_in_mri_and_plain_in_ct():
    far = _case("foreign", range=(90_000.0,))
    (mri,) = outliers([*_site(8), far], MR)
    (ct,) = outliers([*_site(8), far], CT)[-1:]
    assert "range of intensities" in mri.reasons
    assert not mri.is_other_task
    assert ct.is_other_task


def test_few_cases_are_not_compared():
    assert outliers([_case("a"), _case("b", spacing_mm=(9.0, 1.0, 1.0))], MR) == []
