from __future__ import annotations

import pytest

from fednnunet.errors import RefusalError
from fednnunet.federation.site.places import inside


def test_names_may_hold_several_folders_and_empty_ones_are_left_out(tmp_path):
    assert inside(tmp_path, "baselines/fedavg", "", "state") == (
        tmp_path / "baselines" / "fedavg" / "state"
    )
    assert inside(tmp_path) == tmp_path


@pytest.mark.parametrize(
    "name", ["..", "a/../..", "/etc", ".hidden", "a//b", "a b", "a\x00", "x" * 201, "\u00e9"]
)
def test_any_other_name_is_refused(tmp_path, name):
    with pytest.raises(RefusalError, match="does not name a folder") as caught:
        inside(tmp_path, name)
    assert caught.value.advice == "as_agreed"
    assert len(caught.value.what) < 140


def test_a_link_may_stay_inside_and_not_lead_out(tmp_path):
    own = tmp_path / "own"
    (own / "real").mkdir(parents=True)
    (own / "near").symlink_to(own / "real")
    (own / "far").symlink_to(tmp_path)
    assert inside(own, "near", "x") == own / "near" / "x"
    with pytest.raises(RefusalError):
        inside(own, "far", "x")
