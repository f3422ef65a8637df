"""Names of sites: of any language, each with a folder of its own on every system."""

from __future__ import annotations

import pytest

from fednnunet.errors import InputError
from fednnunet.federation.site_names import checked_sites


@pytest.mark.parametrize("name", ["berlin", "Köln", "Łódź", "東京", "मुंबई", "2_north-a", "Αθήνα"])
def test_names_of_any_language_are_names(name: str) -> None:
    assert list(checked_sites({name: 1})) == [name]


def test_a_name_is_kept_in_its_composed_form() -> None:
    assert list(checked_sites({"Ko\N{COMBINING DIAERESIS}ln": 1})) == ["Köln"]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "begin"),
        ("-a", "begin"),
        ("..", "begin"),
        ("a/b", "'/'"),
        ("a b", "' '"),
        ("a\N{ZERO WIDTH SPACE}b", "character"),
        ("a\N{RIGHT-TO-LEFT OVERRIDE}b", "character"),
        ("x" * 65, "long"),
        ("NUL", "Windows"),
        ("p\N{CYRILLIC SMALL LETTER A}ris", "mixes Latin And Cyrillic letters"),
    ],
)
def test_what_cannot_be_a_folder_or_deceives_is_refused(name: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        checked_sites({name: 1})


@pytest.mark.parametrize("other", ["BERLIN", "\N{FULLWIDTH LATIN SMALL LETTER B}erlin"])
def test_two_names_that_a_file_system_may_hold_equal_are_refused(other: str) -> None:
    with pytest.raises(InputError, match="share a folder"):
        checked_sites({"berlin": 1, other: 2})
