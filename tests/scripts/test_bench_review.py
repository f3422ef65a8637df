"""The benchmark of reviews at tiny size: wrong maps are made, reviewed, and left out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from fednnunet import io, records
from fednnunet.evaluation.doubtful import read_doubtful
from fednnunet.federation.coordinator.history import load_records
from fednnunet.inference import review_labels
from tests.conftest import ROOT
from tests.end_to_end.tiny import make_site, no_pictures, small_plan


@pytest.fixture(scope="module")
def bench(script: Callable[[str], ModuleType]) -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        found = script("bench_review")
        patch.setattr(found, "ROWS", ("keep", "drop"))
        patch.setattr(found, "WRONG", 0.4)
        patch.setattr(found, "FIRST", 1.0)
        patch.setattr(review_labels, "draw_review", lambda *masks: b"\x89PNG")
        yield found


def test_the_wrong_maps_are_made_named_and_left_out(
    bench: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    for name in "abcd":
        make_site(data / f"site_{name}", "north")
    arguments = ["-o", str(out), "--data", str(data), "--rounds", "1", "--iterations", "2"]
    with no_pictures():
        assert bench.main(arguments, shape=small_plan) == 0
    assert "named 1 of 1 wrong label maps within the first 3 of 3" in capsys.readouterr().out
    found = records.read(sys.modules["bench_review"].Found, out / "found.json")
    (wrong,) = found.wrong
    assert list(read_doubtful(out / "review" / "doubtful.json").cases) == [wrong]
    before, after = (
        io.read_label(folder / "labelsTr" / f"{wrong}.nii.gz").array
        for folder in (data / "site_c", out / "data" / "wrong" / "site_c")
    )
    assert not np.array_equal(before, after)
    trained = {
        cell: load_records(out / "runs" / cell / "rounds")[0].sites["site_c"].cases
        for cell in ("keep", "drop")
    }
    assert trained == {"keep": 3, "drop": 2}
