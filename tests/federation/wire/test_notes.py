"""Notes of sites: codes, and the numbers in their sentences."""

from __future__ import annotations

import pytest

from fednnunet.errors import (
    FedNNUNetError,
)
from fednnunet.federation.wire.notes import Note


def test_a_note_has_the_numbers_of_its_sentence():
    note = Note(code="out_of_memory", numbers=(4, 2))
    assert "with 4 samples at once: went on with 2" in note.text
    with pytest.raises(FedNNUNetError, match="has 1 numbers, not 2"):
        Note(code="out_of_memory", numbers=(4,))
