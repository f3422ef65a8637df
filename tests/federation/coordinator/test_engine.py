"""The deadline of a round, on a clock of the test's own."""

from __future__ import annotations

from fednnunet.federation.coordinator.engine import Deadline


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_it_passes_after_its_seconds():
    clock = Clock()
    deadline = Deadline(10.0, clock)
    assert deadline.remaining_s == 10.0 and not deadline.passed
    clock.now += 9.5
    assert deadline.remaining_s == 0.5 and not deadline.passed
    clock.now += 9.5
    assert deadline.remaining_s == 0.0 and deadline.passed


def test_it_is_brought_forward_and_never_put_off():
    clock = Clock()
    deadline = Deadline(10.0, clock)
    deadline.shorten(60.0)
    assert deadline.remaining_s == 10.0
    deadline.shorten(3.0)
    assert deadline.remaining_s == 3.0


def test_without_seconds_there_is_no_end_until_one_is_set():
    clock = Clock()
    deadline = Deadline(clock=clock)
    clock.now += 1e9
    assert deadline.remaining_s is None and not deadline.passed
    deadline.shorten(5.0)
    assert deadline.remaining_s == 5.0
