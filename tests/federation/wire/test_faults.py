"""Faults and notes cross as codes; both sides know the same words."""

from __future__ import annotations

from typing import get_args

import pytest

from fednnunet.errors import (
    DataError,
    FedNNUNetError,
    InputError,
    ManyFaults,
    OutOfMemoryError,
    RefusalError,
    WorkerError,
)
from fednnunet.federation.wire.faults import ADVICE, KINDS, Advice, FaultKind, as_error, describe
from fednnunet.federation.wire.messages import FaultReply, pack, unpack
from fednnunet.federation.wire.notes import SENTENCES, NoteCode


def test_every_code_has_words():
    assert set(KINDS) == set(get_args(FaultKind))
    assert set(ADVICE) == set(get_args(Advice))
    assert set(SENTENCES) == set(get_args(NoteCode))


def test_faults_are_counted_and_named_by_their_common_kind():
    one = ManyFaults("x", [DataError("a"), ManyFaults("y", [DataError("b"), DataError("c")])])
    assert describe(one) == ("data", 3, "check_data")
    mixed = ManyFaults("x", [DataError("a"), WorkerError("b")])
    assert describe(mixed) == ("several", 2, "read_log")
    assert describe(ManyFaults("x", [])) == ("several", 1, "read_log")


def test_an_advice_of_the_list_is_taken_over_and_no_other_text():
    assert describe(RefusalError("a", advice="model_stays")) == ("refusal", 1, "model_stays")
    assert describe(RefusalError("a", advice="see /data/x")) == ("refusal", 1, "respect_policy")
    several = [RefusalError("a", advice="model_stays"), RefusalError("b")]
    assert describe(ManyFaults("x", several)) == ("refusal", 2, "respect_policy")


def test_a_class_derived_from_a_known_one_counts_as_that():
    class Special(InputError):
        pass

    assert describe(Special("x"))[0] == "input"
    assert describe(OutOfMemoryError("x"))[0] == "out_of_memory"


def test_an_error_made_of_codes_says_what_where_and_how_to_mend():
    error = as_error("north", "several", 4, "read_log")
    assert type(error) is FedNNUNetError
    assert "(4 faults)" in error.what and error.where == "site north"
    assert error.mend == ADVICE["read_log"]


@pytest.mark.parametrize(("old", "new"), [("check_data", "see my cat"), (": 2", ": 0")])
def test_codes_that_are_not_in_the_lists_are_refused(old, new):
    data = pack(FaultReply(kind="data", faults=2, advice="check_data"))
    assert data.count(old.encode()) == 1
    with pytest.raises(FedNNUNetError, match=r"advice cannot be|faults is 0"):
        unpack(data.replace(old.encode(), new.encode()), sender="site north")
