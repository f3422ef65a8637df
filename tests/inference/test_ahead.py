"""Reading ahead and writing behind: order, room, and errors."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from fednnunet.errors import DataError
from fednnunet.inference.ahead import Ahead, Behind


@pytest.mark.parametrize("room", [0, 10, 10**9])
def test_every_item_is_read_once_and_in_order(room: int) -> None:
    read: list[int] = []

    def note(item: int) -> int:
        read.append(item)
        return 2 * item

    ahead = Ahead(range(9), note, size=lambda item: 4, room=room)
    assert [(item, result()) for item, result in ahead] == [(i, 2 * i) for i in range(9)]
    assert read == list(range(9))


@pytest.mark.parametrize(("room", "waiting"), [(0, 0), (9, 2), (10**9, 4)])
def test_no_more_is_read_ahead_than_there_is_room_for(room: int, waiting: int) -> None:
    ahead = Ahead(range(20), lambda item: item, size=lambda item: 4, room=room)
    seen = [ahead.reserved for _ in ahead]
    assert seen[0] == 4 * waiting and max(seen) == 4 * waiting and seen[-1] == 0


def test_an_item_that_cannot_be_read_does_not_stop_the_others() -> None:
    def read(item: int) -> int:
        if item == 1:
            raise DataError("broken")
        return item

    found = []
    for item, result in Ahead(range(3), read, size=lambda item: 0, room=1):
        try:
            found.append(result())
        except DataError:
            found.append(-item)
    assert found == [0, -1, 2]


def test_what_was_written_is_told_in_order_in_the_callers_thread() -> None:
    told: list[tuple[str, str]] = []

    def done(item: str, result: Callable[[], str]) -> None:
        assert threading.current_thread() is threading.main_thread()
        try:
            told.append((item, result()))
        except DataError as error:
            told.append((item, error.what))

    def fail() -> str:
        raise DataError("no room")

    behind: Behind[str, str] = Behind(done)
    behind.write("a", lambda: "written")
    behind.write("b", fail)
    assert told == [("a", "written")]
    behind.write("c", lambda: "written")
    behind.wait()
    behind.close()
    assert told == [("a", "written"), ("b", "no room"), ("c", "written")]


def test_what_is_being_written_is_finished_when_something_else_fails() -> None:
    told: list[str] = []
    behind: Behind[str, str] = Behind(lambda item, result: told.append(item + result()))
    behind.write("a", lambda: "!")
    behind.close()
    assert told == ["a!"]
