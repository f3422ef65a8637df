"""The state of a site's program is read as it was written."""

from __future__ import annotations

from pathlib import Path

from fednnunet.federation.engines.network.state import FILE, SiteState, read_state, write_state


def test_the_state_that_was_written_last_is_read(tmp_path: Path) -> None:
    assert read_state(tmp_path) is None
    write_state(tmp_path, SiteState(contact=0.0, waiting=2, doing="preparing 1/9"))
    last = SiteState(contact=1.5, waiting=0, trouble="no coordinator answers")
    write_state(tmp_path, last)
    assert read_state(tmp_path) == last
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
