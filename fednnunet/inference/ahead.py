"""Work on other cases while one is predicted: reading ahead in a thread, writing behind in one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Generic, TypeVar

from fednnunet.errors import FedNNUNetError

Item = TypeVar("Item")
Read = TypeVar("Read")
Written = TypeVar("Written")

_MAX_AHEAD = 4  # cases that are read ahead, however small


class Ahead(Generic[Item, Read]):
    """Reads items in a thread, in their order, some ahead of the one that is asked for.

    `size` is what an item takes in bytes while it is read or waits. Items are read ahead as long as
    those that wait take no more than `room`; with too little room for the next one, it is read when
    its turn comes.
    """

    def __init__(
        self,
        items: Sequence[Item],
        read: Callable[[Item], Read],
        *,
        size: Callable[[Item], int],
        room: int,
    ) -> None:
        self._left = deque(items)
        self._read, self._size, self._room = read, size, room
        self._waiting: deque[tuple[Item, Future[Read], int]] = deque()
        self._pool = ThreadPoolExecutor(max_workers=1)

    @property
    def reserved(self) -> int:
        """Bytes of the items that are being read or wait."""
        return sum(size for _, _, size in self._waiting)

    def __iter__(self) -> Iterator[tuple[Item, Callable[[], Read]]]:
        """Each item, and what returns (or raises) the result of reading it."""
        try:
            while self._left or self._waiting:
                if not self._waiting:
                    self._submit(0)
                item, future, _ = self._waiting.popleft()
                future.exception()  # wait before more is read
                self._fill()
                yield item, future.result
        finally:
            self._pool.shutdown(cancel_futures=True)

    def _fill(self) -> None:
        while self._left and len(self._waiting) < _MAX_AHEAD:
            size = self._size(self._left[0])
            if self.reserved + size > self._room:
                return
            self._submit(size)

    def _submit(self, size: int) -> None:
        item = self._left.popleft()
        self._waiting.append((item, self._pool.submit(self._read, item), size))


class Behind(Generic[Item, Written]):
    """Writes results in a thread, one at a time, so that at most one of them waits.

    `done` is called in the order of the items, in the caller's thread, with what returns (or
    raises) the result of writing.
    """

    def __init__(self, done: Callable[[Item, Callable[[], Written]], None]) -> None:
        self._done = done
        self._pool = ThreadPoolExecutor(max_workers=1)
        self._open: tuple[Item, Future[Written]] | None = None

    def write(self, item: Item, work: Callable[[], Written]) -> None:
        """Wait for the item before, then let `work` write this one."""
        self.wait()
        self._open = item, self._pool.submit(work)

    def wait(self) -> None:
        """Wait for what is being written."""
        if self._open is None:
            return
        item, future = self._open
        self._open = None
        future.exception()
        self._done(item, future.result)

    def close(self) -> None:
        """Finish what is being written, whatever happened meanwhile, and end the thread."""
        with suppress(FedNNUNetError):
            self.wait()
        self._pool.shutdown()
