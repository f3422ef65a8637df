"""The page of a running training: sites, rounds and curves, with foreign text escaped."""

from __future__ import annotations

from dataclasses import replace

from fednnunet.evaluation.charts import RoundPoint
from fednnunet.evaluation.status import RoundStatus, SiteStatus, Status, status_page

STATUS = Status(
    title="t: 2 sites, training",
    facts=(("round", "1 of 4"), ("time left", "0:01:30")),
    sites=(
        SiteStatus(name="north", state="works on a request", round="1", loss="0.5000", dice="0.7"),
        SiteStatus(name="south", state="not connected"),
    ),
    rounds=(
        RoundStatus(
            number=1,
            phase="joint",
            answered="north",
            seconds=30.04,
            sent="1.0 MiB",
            received="0.5 MiB",
            without={"south": "late: <b>no reply</b>"},
        ),
    ),
    history=(RoundPoint(round=1, site="north", loss=0.5, dice=0.7),),
)


def test_the_page_shows_sites_rounds_and_curves() -> None:
    text = status_page(STATUS)
    for part in (
        "<dt>time left</dt><dd>0:01:30</dd>",
        '<td>south</td><td class="left">not connected</td>',
        "<td>30.0</td><td>1.0 MiB</td><td>0.5 MiB</td>",
        "data:image/svg+xml",
    ):
        assert part in text
    assert "<script" not in text and "http://" not in text.replace("http://www.w3.org", "")


def test_foreign_text_is_no_markup() -> None:
    assert "late: &lt;b&gt;no reply&lt;/b&gt;" in status_page(STATUS)


def test_a_run_that_has_no_round_yet_has_a_page() -> None:
    text = status_page(replace(STATUS, rounds=(), history=()))
    assert "Last rounds" not in text and "<td>north</td>" in text
