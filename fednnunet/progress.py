"""How long steps report their progress."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int, str], None]
"""Called as `progress(done, total, what)`: so many of `total` are done, and what was done last."""
