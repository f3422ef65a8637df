from __future__ import annotations

import pytest

from fednnunet.errors import FedNNUNetError
from fednnunet.federation.site.layout import check_layout
from fednnunet.federation.spec import SiteSpec
from fednnunet.task import Task


def test_a_folder_without_cases_is_named(tmp_path):
    task = Task(name="t", channels=("MRI",), labels=("background", "a"))
    spec = SiteSpec(folder=tmp_path / "nothing")
    with pytest.raises(FedNNUNetError) as caught:
        check_layout(spec, task, site="north", workers=1, progress=lambda done, total, what: None)
    assert "nothing" in str(caught.value)
