"""The benchmark of bytes at tiny size."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import ROOT
from tests.end_to_end.tiny import make_site, no_pictures, small_plan


def make_sites(folder: Path) -> Path:
    """Four sites with the labels of the hippocampus."""
    labels = {"background": 0, "anterior": 1, "posterior": 2}
    for name in "abcd":
        site = folder / f"site_{name}"
        make_site(site, "north")
        header = json.loads((site / "dataset.json").read_text())
        (site / "dataset.json").write_text(json.dumps({**header, "labels": labels}))
    return folder


def test_a_cell_is_trained_stored_and_in_the_table(
    tmp_path: Path, script: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    bench = script("bench_bytes")
    arguments = ["-o", str(tmp_path / "out"), "--data", str(make_sites(tmp_path / "volumes"))]
    arguments += ["--rounds", "2", "--iterations", "1", "--cells", "4_bits_both"]
    with no_pictures():
        assert bench.main(arguments, shape=small_plan) == 0
        assert (tmp_path / "out" / "cells" / "4_bits_both_0.json").is_file()
        table = (tmp_path / "out" / "bytes.md").read_text()
        assert bench.main(arguments, shape=small_plan) == 0  # nothing is trained again
    assert "| 4_bits_both | " in table
