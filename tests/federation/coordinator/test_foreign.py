from __future__ import annotations

from fednnunet.errors import FedNNUNetError, ManyFaults, ReplyError
from fednnunet.federation.coordinator.foreign import MAX_FAULTS, MAX_TEXT, made_safe, safe_text


def test_a_text_becomes_one_printable_line_of_limited_length():
    assert safe_text("two\nlines\t and  a tab") == "two lines and a tab"
    assert safe_text("\x1b[31mred") == "\\x1b[31mred"
    long = safe_text("x" * 10**6)
    assert len(long) == MAX_TEXT
    assert long.endswith(" ...")
    assert safe_text("y" * MAX_TEXT) == "y" * MAX_TEXT


def test_a_harmless_error_stays_the_same_object():
    error = ReplyError("plain", where="reply of site a", mend="nothing")
    assert made_safe(error) is error


def test_kind_and_advice_of_an_error_stay():
    error = made_safe(ReplyError("bad\x07", where="a\nb", mend="c", advice="same_plan"))
    assert type(error) is ReplyError
    assert (error.what, error.where, error.advice) == ("bad\\x07", "a b", "same_plan")


def test_of_many_faults_the_first_stay_and_the_others_are_counted():
    faults = [FedNNUNetError(f"fault {number}\n") for number in range(MAX_FAULTS + 5)]
    error = made_safe(ManyFaults("too\nmany", faults))
    assert isinstance(error, ManyFaults)
    assert error.what == "too many"
    assert len(error.faults) == MAX_FAULTS + 1
    assert error.faults[0].what == "fault 0"
    assert error.faults[-1].what == "and 5 more"
