"""Probabilities are those of the softmax or of the sigmoids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import special

from fednnunet.inference.export import Wanted, export_logits
from fednnunet.planning.plan import Resampling
from fednnunet.task import Task
from tests.inference.test_native import a_placement
from tests.inference.test_uncertainty import REGIONS

CLASSES = Task(name="t", channels=("MRI",), labels=("background", "a", "b"))


@pytest.mark.parametrize("task", [CLASSES, REGIONS], ids=["classes", "regions"])
def test_they_are_written_to_disk(tmp_path: Path, task: Task) -> None:
    logits = np.random.default_rng(0).normal(0, 5, (task.heads, 4, 5, 6)).astype(np.float32)
    placement = a_placement((4, 5, 6), (4, 5, 6))
    wanted = Wanted(probabilities=tmp_path / "kept")
    found = export_logits(logits, placement, task, Resampling(), wanted).probabilities
    assert isinstance(found, np.memmap) and found.dtype == np.float16
    expected = special.expit(logits) if task.regions else special.softmax(logits, axis=0)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert not any((tmp_path / "kept").iterdir())
