"""Text from outside (names of tasks, labels, sites, cases and files; notes) made safe to show.

Names come from files and messages of others. In a terminal they must not steer it, in Markdown and
HTML they must not become markup, and in a table they must not become a formula.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_MARKDOWN = {"&": "&amp;", "<": "&lt;", ">": "&gt;"} | {c: "\\" + c for c in "\\`*[]|!"}
_HIDDEN = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")  # control, format (turned text), lone surrogates


def plural(count: int, noun: str, many: str = "") -> str:
    """A count with its noun: "1 case", "2 cases", "1,024 cases"; `many` if not with an s."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"


def choices(name: object, names: Iterable[str]) -> str:
    """How to mend a name that is not one of `names`: the nearest of them, and all."""
    known = [str(each) for each in names]
    near = nearest(str(name), known)
    meant = f"did you mean {near!r}? " if near is not None else ""
    return f"{meant}choose one of: {', '.join(known)}" if known else "there are none to choose"


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The one of `names` that is most like `name`, whatever the case of letters; None if none is.

    Of names that differ in the case of letters only, the first.
    """
    by_lower = {each.casefold(): each for each in reversed(list(names))}
    found = difflib.get_close_matches(name.casefold(), by_lower, n=1)
    return by_lower[found[0]] if found else None


def printable(text: str, *, lines: bool = False) -> str:
    """`text` without what steers a terminal or hides from a reader, each replaced by its code.

    Control characters and escapes, characters that turn the direction of text, and bytes of a file
    name that is not UTF-8. Line breaks stay with `lines`.
    """
    kept = "\n" if lines else ""
    return "".join(
        f"\\x{ord(c) & 0xFF:02x}" if _is_hidden(c) and c not in kept else c for c in text
    )


def shortened(text: str, length: int) -> str:
    """`text` with at most `length` characters; of a longer one the end is cut off."""
    return text if len(text) <= length else f"{text[: length - 4]} ..."


def shown(value: object, length: int = 60) -> str:
    """A value as an error message quotes it, in at most `length` characters."""
    try:
        text = repr(value)
    except ValueError:  # a whole number too long for Python to write down
        text = "a number of very many digits"
    return shortened(text, length)


def markdown(text: str) -> str:
    """`text` as a word in Markdown: no HTML, no link, no end of a table's cell or a line."""
    return "".join(_MARKDOWN.get(c, c) for c in printable(" ".join(text.split())))


def cell(value: object) -> object:
    """A value for a CSV file: text that a table's program would take for a formula gets a quote.

    Numbers stay as they are, as text too.
    """
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.lstrip("'").startswith(_FORMULA) and not _is_number(text) else text


def uncell(text: str) -> str:
    """The text that `cell` was given, but for what cannot be printed."""
    quoted = text.startswith("'") and text.lstrip("'").startswith(_FORMULA)
    return text[1:] if quoted else text


def _is_hidden(character: str) -> bool:
    return not character.isprintable() and unicodedata.category(character) in _HIDDEN


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
