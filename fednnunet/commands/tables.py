"""Tables on the terminal that are never truncated."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table


def print_table(console: Console, table: Table) -> None:
    """Print a table at full width; a narrow terminal wraps its lines."""
    wide = console.options.update(max_width=10_000)
    needed = console.measure(table, options=wide).maximum
    before, console.width = console.width, max(console.width, needed)
    try:
        console.print(table)
    finally:
        console.width = before
