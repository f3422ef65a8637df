"""Errors about a site's messages, made safe to show and to keep: they quote what the site sent."""

from __future__ import annotations

from fednnunet.errors import FedNNUNetError, ManyFaults, single_faults
from fednnunet.text import printable, shortened

MAX_TEXT = 500  # characters of each part of an error
MAX_FAULTS = 10  # of one site


def made_safe(error: FedNNUNetError) -> FedNNUNetError:
    """The error without control characters or terminal escapes, with its texts shortened.

    Of many faults the first ones stay.
    """
    if not isinstance(error, ManyFaults):
        return _with_safe_texts(error)
    faults = single_faults(error)
    kept = [_with_safe_texts(fault) for fault in faults[:MAX_FAULTS]]
    if len(faults) > MAX_FAULTS:
        more = f"and {len(faults) - MAX_FAULTS} more"
        kept.append(FedNNUNetError(more, mend="mend the faults above first"))
    return ManyFaults(safe_text(error.what), kept)


def safe_text(text: str) -> str:
    """A text on one line, printable and of at most `MAX_TEXT` characters."""
    return shortened(printable(" ".join(text[: 2 * MAX_TEXT].split())), MAX_TEXT)


def _with_safe_texts(error: FedNNUNetError) -> FedNNUNetError:
    texts = (error.what, error.where, error.mend)
    safe = [safe_text(text) for text in texts]
    if list(texts) == safe:
        return error
    return type(error)(safe[0], where=safe[1], mend=safe[2], advice=error.advice)
