"""The check of a site's folder; its faults are those of tests/test_dataset."""

from __future__ import annotations

import pytest

from fednnunet.errors import FedNNUNetError
from fednnunet.federation.site.layout import check_layout
from fednnunet.federation.spec import SiteSpec
from tests.attacks.victim import TASK
from tests.end_to_end.tiny import make_site


def test_faults_of_the_folder_and_of_its_whole_cases_come_together(tmp_path):
    make_site(tmp_path / "north", "north")
    spec, told = SiteSpec(folder=tmp_path / "north"), []

    def check():
        check_layout(spec, TASK, site="north", workers=1, progress=lambda *done: told.append(done))

    check()
    assert not told  # a folder without faults is not read
    (tmp_path / "north" / "labelsTr" / "case_0.nii.gz").unlink()
    with pytest.raises(FedNNUNetError, match="case_0"):
        check()
    assert told
