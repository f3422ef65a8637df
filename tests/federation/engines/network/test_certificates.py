"""A kit's certificate is looked at before anything is started with it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from fednnunet.errors import InputError

pytest.importorskip("nvflare", reason="pip install 'fednnunet[network]'")

from fednnunet.commands import provision
from fednnunet.federation.engines.network.certificates import days_left
from tests.commands.test_provision import BARE
from tests.federation.engines.network.foreign_kits import certificate, with_certificate


@pytest.fixture(scope="module")
def kits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kits")
    (folder / "federation.toml").write_text(BARE)
    assert provision.main([str(folder / "federation.toml"), "-o", str(folder / "kits")]) == 0
    return folder / "kits"


def kit_from(kits: Path, folder: Path, begin: timedelta, end: timedelta) -> Path:
    made = certificate(kits / "authority", "north", folder / "made", begin=begin, end=end)
    return with_certificate(kits / "north", made, folder / "kit")


def test_a_new_kit_holds_for_about_a_year(kits: Path) -> None:
    for name in ("north", "coordinator", "admin"):
        assert 350 < days_left(kits / name) <= 360


def test_the_days_that_are_left_are_counted(kits: Path, tmp_path: Path) -> None:
    kit = kit_from(kits, tmp_path, timedelta(days=-1), timedelta(days=20))
    assert 19 < days_left(kit) <= 20


def test_a_clock_that_is_two_hours_late_is_named(kits: Path, tmp_path: Path) -> None:
    kit = kit_from(kits, tmp_path, timedelta(hours=2), timedelta(days=20))
    with pytest.raises(InputError, match=r"begins 2\.0 hours from now") as caught:
        days_left(kit)
    assert "clock" in caught.value.mend


def test_an_expired_certificate_says_where_a_new_one_comes_from(kits: Path, tmp_path: Path) -> None:
    kit = kit_from(kits, tmp_path, timedelta(days=-9), timedelta(days=-3))
    with pytest.raises(InputError, match="expired 3 days ago") as caught:
        days_left(kit)
    assert "fednnunet_provision" in caught.value.mend


def test_a_certificate_that_cannot_be_read_is_named(kits: Path, tmp_path: Path) -> None:
    kit = with_certificate(kits / "north", kits / "north" / "startup", tmp_path / "kit")
    (kit / "startup" / "client.crt").write_text("no certificate")
    with pytest.raises(InputError, match="cannot be read"):
        days_left(kit)
