"""Self-contained HTML pages and the numbers in them."""

from __future__ import annotations

import base64
import math

import pytest
from jinja2 import DictLoader, UndefinedError
from markupsafe import Markup

from fednnunet.evaluation import page
from fednnunet.evaluation.page import number, p_value, png_source, signed, svg_source, write_page


@pytest.fixture
def template(monkeypatch):
    def use(text: str) -> None:
        monkeypatch.setattr(page, "PackageLoader", lambda *place: DictLoader({"t": text}))

    return use


@pytest.mark.parametrize(
    ("value", "digits", "text"), [(0.12345, 3, "0.123"), (2.0, 1, "2.0"), (math.nan, 3, "n/a")]
)
def test_a_number_has_its_digits(value, digits, text):
    assert number(value, digits) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.25, "+0.250"),
        (-0.25, "\N{MINUS SIGN}0.250"),
        (0.0004, "0.000"),
        (-0.0004, "0.000"),
        (math.nan, "n/a"),
    ],
)
def test_a_difference_has_its_sign_unless_it_rounds_to_zero(value, text):
    assert signed(value) == text


@pytest.mark.parametrize(
    ("p", "text"), [(0.0004, "< 0.001"), (0.0006, "0.001"), (0.05, "0.050"), (1.0, "1.000")]
)
def test_a_small_p_value_is_told_as_a_bound(p, text):
    assert p_value(p) == text


def test_pictures_are_in_the_page_itself():
    kind, _, content = png_source(b"\x89PNG").partition(";base64,")
    assert kind == "data:image/png" and base64.b64decode(content) == b"\x89PNG"
    kind, _, content = svg_source("<svg>é</svg>").partition(";base64,")
    assert kind == "data:image/svg+xml" and base64.b64decode(content).decode() == "<svg>é</svg>"


def test_values_are_escaped_and_our_own_markup_stays(tmp_path, template):
    template("{{ x }}{{ own }}{{ n|number(1) }}")
    write_page(tmp_path / "a.html", "t", x="<i>\x1b", own=Markup("<b>"), n=0.25)
    assert (tmp_path / "a.html").read_text() == "&lt;i&gt;\\x1b<b>0.2"


def test_a_missing_value_is_an_error_and_the_old_page_stays(tmp_path, template):
    path = tmp_path / "a.html"
    path.write_text("old")
    template("{{ nothing }}")
    with pytest.raises(UndefinedError):
        write_page(path, "t")
    assert path.read_text() == "old"
