from __future__ import annotations

from pathlib import Path

import pytest

from fednnunet.commands.site_faults import show_fault
from fednnunet.federation.site.wall import SiteFault


@pytest.mark.parametrize(("count", "words"), [(1, "1 fault,"), (3, "3 faults,")])
def test_the_sites_terminal_shows_the_details_and_where_the_log_is(capsys, count, words):
    text = "case_1 [bold]cannot[/bold] be read"
    show_fault(SiteFault(site="north", faults=count, text=text, log=Path("/x/site.log")))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == [f"site north: {words} details in /x/site.log", text]
