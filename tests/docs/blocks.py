"""The code blocks of a Markdown page."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(
    r"(<!-- not run: (?P<why>[^>]+?) -->\n)?```(?P<kind>\w+)\n(?P<text>.*?)```", re.S
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block of code: its language, and why it is not run, if so."""

    kind: str
    text: str
    why: str


def blocks(page: str) -> list[Block]:
    """All blocks of a page, whose path is relative to the clone."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [
        Block(kind=found["kind"], text=found["text"], why=found["why"] or "")
        for found in _BLOCK.finditer(text)
    ]


def lines(block: Block) -> list[str]:
    """The commands of a block of shell, without comments."""
    found = [line.partition("#")[0].strip() for line in block.text.splitlines()]
    return [line for line in found if line]
