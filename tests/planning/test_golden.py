from __future__ import annotations

import json
from pathlib import Path

import pytest

from fednnunet.interop.case_list import read_case_list
from tests.planning.golden_files import (
    FILES,
    SHIPPED,
    as_expected,
    expectations,
    merged,
    plan_of,
)


def leftovers(path: Path, golden: dict) -> set[str]:
    """Configurations that the reference run did not decide, but found in its folder.

    nnU-Net keeps configurations of an earlier plans file of the same name that the new plan lacks.
    The 24 GiB references were made where the 8 GiB ones lay, so a low resolution that 24 GiB does
    not need still stands in two of them, word for word that of 8 GiB, beside a full resolution
    with batch_dice false, which nnU-Net never sets when it plans a low resolution.
    """
    expect = golden["expect"]
    if "3d_lowres" not in expect or expect["3d_fullres"]["batch_dice"]:
        return set()
    first = path.with_name(path.name.replace("default_24gib", "default"))
    assert expect["3d_lowres"] == json.loads(first.read_text())["expect"]["3d_lowres"]
    return {"3d_lowres", "3d_cascade_fullres"}


@pytest.mark.parametrize("sites", ["1", "5", "all"])
@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_every_split_gives_the_plan_of_nnunet(path: Path, sites: str) -> None:
    golden = json.loads(path.read_text())
    cases = read_case_list(path)
    count = len(cases.cases) if sites == "all" else int(sites)
    plan = plan_of(path, cases, sites=count, seed=count)
    extra = leftovers(path, golden)
    assert [c.name for c in plan.configurations if c.name not in extra] == sorted(
        set(golden["expect"]) - extra,
        key=["2d", "3d_lowres", "3d_fullres", "3d_cascade_fullres"].index,
    )
    assert list(plan.transpose) == golden["transpose"]
    for name, expected in expectations(golden).items():
        if name in extra:
            continue
        found = plan.configuration(name)
        assert found.spacing_mm == pytest.approx(expected.pop("spacing_mm"), rel=1e-9)
        assert as_expected(found) == expected, name


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_the_cascade_is_the_full_resolution_with_a_previous_stage(path: Path) -> None:
    plan = plan_of(path, read_case_list(path), sites=1, seed=1)
    names = [c.name for c in plan.configurations]
    assert ("3d_cascade_fullres" in names) == ("3d_lowres" in names)
    if "3d_cascade_fullres" in names:
        cascade, full = plan.configuration("3d_cascade_fullres"), plan.configuration("3d_fullres")
        assert cascade.previous == "3d_lowres" and full.previous is None
        assert cascade.architecture == full.architecture and cascade.batch_dice


@pytest.mark.parametrize(
    "path", [f for f in FILES if ".default." in f.name and f.parent == SHIPPED]
)
def test_splits_give_the_same_bits(path: Path) -> None:
    whole, shapes = merged(path, 1, 1)
    for sites in (2, 5):
        part, part_shapes = merged(path, sites, 77)
        assert part.vector.tobytes() == whole.vector.tobytes()
        assert part_shapes.counts.tobytes() == shapes.counts.tobytes()
