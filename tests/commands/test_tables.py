"""A table keeps every digit, however narrow the terminal."""

from __future__ import annotations

import io

from rich.console import Console
from rich.table import Table

from fednnunet.commands.tables import print_table


def test_a_table_wider_than_the_terminal_is_printed_whole() -> None:
    table = Table()
    for number in range(12):
        table.add_column(f"column {number}")
    table.add_row(*(f"0.{number:03d}" for number in range(12)))
    console = Console(file=io.StringIO(), width=40)
    print_table(console, table)
    assert console.width == 40
    text = console.file.getvalue()
    assert "…" not in text
    assert all(f"0.{number:03d}" in text and f"column {number}" in text for number in range(12))
