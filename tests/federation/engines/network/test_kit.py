"""A kit is of one participant, and of one role."""

from __future__ import annotations

from pathlib import Path

import pytest

from fednnunet import records
from fednnunet.errors import InputError
from fednnunet.federation.engines.network.kit import FILE, Kit, read_kit

KIT = Kit(role="site", name="a", federation="0" * 64, host="localhost", port=8102)


def test_a_kit_is_read(tmp_path: Path) -> None:
    records.write(KIT, tmp_path / FILE)
    assert read_kit(tmp_path, "site") == KIT


def test_another_role_is_refused(tmp_path: Path) -> None:
    records.write(KIT, tmp_path / FILE)
    with pytest.raises(InputError, match="of the site a, not of a coordinator"):
        read_kit(tmp_path, "coordinator")


def test_a_folder_that_is_no_kit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no start-up kit"):
        read_kit(tmp_path, "site")
