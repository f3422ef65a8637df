"""What many tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real volumes beside the project; the test is skipped where it is absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"real volumes are not here ({folder})")
    return folder


@pytest.fixture(scope="session")
def golden_folder() -> Path:
    """Plans that nnU-Net v2 itself made; the test is skipped where they are absent."""
    folder = ROOT.parent / "shared" / "golden"
    if not folder.is_dir():
        pytest.skip(f"nnU-Net's own plans are not here ({folder})")
    return folder
