"""Pictures that sites share are kept by site, model and rank."""

from __future__ import annotations

from pathlib import Path

from fednnunet.evaluation.scores import SiteScores
from fednnunet.federation.coordinator.pictures import FOLDER, keep_pictures, read_pictures
from fednnunet.federation.wire.messages import EvaluateReply
from fednnunet.federation.wire.pictures import as_tensors
from tests.federation.wire.test_pictures import a_png


def a_reply(**pictures: bytes) -> EvaluateReply:
    return EvaluateReply(scores=SiteScores(), round=1, tensors=as_tensors(pictures))


def test_what_came_is_read_back(tmp_path: Path) -> None:
    worst, median = a_png(body=b"1"), a_png(body=b"2")
    keep_pictures(tmp_path, "global", {"a": a_reply(worst=worst), "b": a_reply()})
    keep_pictures(tmp_path, "personal", {"a": a_reply(median=median, worst=worst)})
    found = [(p.site, p.model, p.rank, p.png) for p in read_pictures(tmp_path)]
    assert found == [
        ("a", "global", "worst", worst),
        ("a", "personal", "worst", worst),
        ("a", "personal", "median", median),
    ]


def test_pictures_that_a_site_shares_no_more_go(tmp_path: Path) -> None:
    keep_pictures(tmp_path, "global", {"a": a_reply(worst=a_png())})
    keep_pictures(tmp_path, "global", {"a": a_reply()})
    assert read_pictures(tmp_path) == ()


def test_without_any_no_folder_is_made(tmp_path: Path) -> None:
    keep_pictures(tmp_path, "global", {"a": a_reply()})
    assert not (tmp_path / FOLDER).exists() and read_pictures(tmp_path) == ()
