"""The regular expression that finds the patient in the name of a case.

Python's expressions try every way to divide a name among their repeats. A repeat in a repeated
group doubles the work with every letter, so that a name of forty letters never ends; without such
groups the work is at most the length of the name to the power of the number of repeats.
"""

from __future__ import annotations

import re

from fednnunet.errors import InputError

MAX_CHARACTERS = 200
MAX_REPEATS = 4
_EXAMPLE = 'patient = "(.+)_scan[0-9]"'
# An escaped character, a class in brackets, the mark of a group, or a repeat.
_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?|[*+?]|\{[0-9,]*\}|.", re.DOTALL)


def check_pattern(pattern: str) -> None:
    """Raise InputError for an expression that is none, finds no patient, or may never end."""
    if len(pattern) > MAX_CHARACTERS:
        raise InputError(
            f"patient has {len(pattern)} characters, more than {MAX_CHARACTERS}",
            mend=f"write a shorter expression, e.g. {_EXAMPLE}",
        )
    try:
        groups = re.compile(pattern).groups
    except (re.error, RecursionError, OverflowError) as error:
        raise InputError(
            f"patient is no regular expression: {error}",
            mend=f"correct the expression, e.g. {_EXAMPLE}",
        ) from None
    if groups < 1:
        raise InputError(
            f"patient = {pattern!r} has no group",
            mend=f"put the patient in parentheses, e.g. {_EXAMPLE}",
        )
    _check_repeats(pattern)


def _check_repeats(pattern: str) -> None:
    tokens = _TOKEN.findall(pattern)
    repeats = [i for i, token in enumerate(tokens) if i and _is_repeat(token)]
    if len(repeats) > MAX_REPEATS or any(tokens[i - 1] == ")" for i in repeats):
        raise InputError(
            f"patient = {pattern!r} repeats a group, or has more than {MAX_REPEATS} repeats: a "
            "name could take forever to be matched",
            mend="use at most four of *, +, ? and {}, none of them after a closing parenthesis, "
            f"e.g. {_EXAMPLE}",
        )


def _is_repeat(token: str) -> bool:
    return token in ("*", "+", "?") or (len(token) > 2 and token[0] == "{")
