"""The page of pseudo-labels: sorted, self-contained, and the list that it saves."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from fednnunet.errors import InputError
from fednnunet.evaluation.pictures import draw_planes
from fednnunet.evaluation.review import ReviewCase, read_accepted, write_review
from fednnunet.task import Task
from fednnunet.volume import Geometry, Volume

TASK = Task(name="t", channels=("MRI",), labels=("background", "organ"))


def test_the_most_unsure_case_is_first_and_nothing_is_loaded(tmp_path: Path) -> None:
    cases = [
        ReviewCase(case="sure", unsure_share=0.1, volumes_ml={"organ": 12.34}),
        ReviewCase(case="empty", unsure_share=None, volumes_ml={"organ": 0.0}),
        ReviewCase(case='odd "<1>', unsure_share=2.5, volumes_ml={"organ": 1.0}),
    ]
    pictures = {case.case: b"\x89PNG" for case in cases}
    write_review(tmp_path / "review.html", cases, pictures, task="t", source="bundle 12ab")
    text = (tmp_path / "review.html").read_text()
    assert re.findall(r'data-case="([^"]+)"', text) == ["empty", "odd &#34;&lt;1&gt;", "sure"]
    assert "nothing was found" in text and "12.3 ml" in text and "bundle 12ab" in text
    assert text.count("data:image/png") == 3
    links = re.findall(r'(?:src|href)="([^"]{0,40})', text)
    assert all(link.startswith("data:") for link in links)


def test_the_list_has_a_name_on_each_line(tmp_path: Path) -> None:
    path = tmp_path / "accepted.txt"
    path.write_text("# by a reader\ncase_2\n\n  case_1 \n")
    assert read_accepted(path) == ("case_2", "case_1")


@pytest.mark.parametrize(
    ("content", "words"), [(b"a\na\n", "a twice"), (b"# no\n", "no case"), (b"\xff\xfe", "read")]
)
def test_a_list_that_cannot_be_used_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "accepted.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_accepted(path)


@pytest.mark.parametrize("found", [True, False])
def test_three_planes_are_drawn_of_any_mask(found: bool) -> None:
    rng = np.random.default_rng(0)
    image = Volume(
        array=rng.normal(size=(1, 8, 20, 16)).astype(np.float32),
        geometry=Geometry(spacing_mm=(3.0, 1.0, 1.0)),
    )
    mask, doubt = np.zeros((8, 20, 16), np.uint8), np.zeros((8, 20, 16), np.float32)
    mask[2:5, 5:9, 3:9] = found
    doubt[4, 4:10, 3] = 0.7
    picture = draw_planes(image, mask, doubt, TASK)
    assert picture.startswith(b"\x89PNG")
    assert picture == draw_planes(image, mask, doubt, TASK)
    assert picture != draw_planes(image, mask, doubt * 0, TASK)
