from __future__ import annotations

from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "plans" / "examples"


def test_a_row_a_noise(script, capsys):
    pytest.importorskip("dp_accounting", reason="the extra dp is not installed")
    path = EXAMPLES / "breast_mri.default.json"
    assert script("bench_noisy_plan").main([str(path), "--draws", "2", "--noise", "1e-6"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("| 1e-06 | ")
    spacing = last.split("|")[3]
    assert int(spacing.split("%")[0]) <= 12  # bins are 11 % wide
