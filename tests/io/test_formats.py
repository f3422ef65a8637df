"""Image formats by the endings of their names."""

from __future__ import annotations

from pathlib import Path

from fednnunet import io


def test_endings_are_told_whatever_their_case():
    assert io.ending(Path("A.NII.GZ")) == ".nii.gz"
    assert io.ending(Path("a.nii.gz.txt")) is None
