"""fednnunet_audit refuses what it cannot attack; tests/end_to_end/test_privacy.py runs it."""

from __future__ import annotations

import pytest

from fednnunet import records
from fednnunet.commands import audit
from fednnunet.federation.spec import Federation, SiteSpec
from tests.audit.made_up import training
from tests.training.fakes import small_task


@pytest.fixture
def run(tmp_path):
    sites = {"north": SiteSpec(folder=tmp_path / "north")}
    federation = Federation(task=small_task(), sites=sites, training=training())
    records.write(federation, tmp_path / "federation.json")
    return tmp_path


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--site", "south"], "no site 'south' trains in this run"),
        (["--site", "north", "--steps", "0"], "numbers above 0"),
        (["--site", "north"], "the site has not prepared its cases"),
    ],
)
def test_what_cannot_be_attacked_is_one_message(run, capsys, options, told):
    assert audit.main([str(run), *options]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert told in said
    assert said.count("mend:") == 1
