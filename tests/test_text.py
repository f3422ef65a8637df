"""Text from outside, made safe to show."""

from __future__ import annotations

import pytest

from fednnunet.text import cell, markdown, printable, shortened, shown, uncell

FORMULAS = ["=1+1", "+cmd", "-x", "@SUM(A1)", "'=1", "''@x"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Zürich 3", "Zürich 3"),
        ("a\x1b[2J", "a\\x1b[2J"),
        ("a\u202eb", "a\\x2eb"),
        ("a\nb", "a\\x0ab"),
        ("name\udce9", "name\\xe9"),
    ],
)
def test_what_steers_or_hides_is_shown_by_its_code(text, shown):
    assert printable(text) == shown


def test_line_breaks_may_stay():
    assert printable("a\nb\x07", lines=True) == "a\nb\\x07"


def test_a_word_in_markdown_is_no_markup():
    assert markdown("<b> | [a](x) `c` *d*") == "&lt;b&gt; \\| \\[a\\](x) \\`c\\` \\*d\\*"
    assert markdown("two\n lines") == "two lines"


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_gets_a_quote_and_is_read_as_it_was(text):
    assert cell(text) == f"'{text}"
    assert uncell(f"'{text}") == text


@pytest.mark.parametrize("value", [3, 0.5, None, "-2.5", "+1e3", "plain", "a=b", "'quoted'"])
def test_numbers_and_plain_text_stay(value):
    assert cell(value) == value
    if isinstance(value, str):
        assert uncell(value) == value


def test_a_long_text_is_cut_to_its_length() -> None:
    assert shortened("a" * 10, 10) == "a" * 10
    assert shortened("a" * 11, 10) == "aaaaaa ..."
    assert shown({"a": [1]}, 60) == "{'a': [1]}"
    assert shown("b" * 99, 10) == "'bbbbb ..."


def test_a_number_that_python_does_not_write_down_can_be_shown() -> None:
    assert shown(16**5000, 60) == "a number of very many digits"
    assert shown([16**5000], 60) == "a number of very many digits"
