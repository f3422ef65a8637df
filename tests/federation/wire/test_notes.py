"""Notes of sites: codes, and the numbers in their sentences."""

from __future__ import annotations

import pytest

from fednnunet.errors import (
    FedNNUNetError,
)
from fednnunet.federation.wire.notes import SENTENCES, Note


def test_a_note_has_the_numbers_of_its_sentence():
    note = Note(code="out_of_memory", numbers=(4, 2))
    assert "with 4 samples at once: went on with 2" in note.text
    with pytest.raises(FedNNUNetError, match="has 1 numbers, not 2"):
        Note(code="out_of_memory", numbers=(4,))


def test_a_sentence_without_numbers_takes_none():
    assert Note(code="cpu_float32").text == SENTENCES["cpu_float32"]
    with pytest.raises(FedNNUNetError, match="has 1 numbers, not 0"):
        Note(code="cpu_float32", numbers=(1,))


@pytest.mark.parametrize("code", SENTENCES)
def test_every_sentence_can_be_filled(code):
    numbers = tuple(range(7, 7 + SENTENCES[code].count("{}")))
    text = Note(code=code, numbers=numbers).text
    assert "{" not in text and all(str(number) in text for number in numbers)
