"""A function that is interrupted at one of its calls."""

from __future__ import annotations


class Interruption:
    """Wraps a function to be interrupted at its `at`-th call, before or after its work."""

    def __init__(self, function, at, *, after=False):
        self.function, self.left, self.after = function, at, after
        self.calls = 0

    def __call__(self, *arguments, **settings):
        self.calls += 1
        self.left -= 1
        if self.left == 0 and not self.after:
            raise KeyboardInterrupt
        result = self.function(*arguments, **settings)
        if self.left == 0:
            raise KeyboardInterrupt
        return result
