"""What makes the commands of a page quick, between one and the next."""

from __future__ import annotations

from pathlib import Path

from tests.end_to_end.tiny import shrink

_SHORT = (
    ("\nrounds = 40", "\nrounds = 1"),
    ("iterations_per_round = 25", "iterations_per_round = 1"),
    ("public_rounds = 20", "public_rounds = 1"),
    ('planner = "plain"', 'planner = "cpu"'),
    ('# device = "cuda"', 'device = "cpu"  #'),
)


def make_quick(folder: Path) -> None:
    """Make what is planned or to be trained in a clone small."""
    federation, plan = folder / "federation.toml", folder / "RUN" / "plan.json"
    if federation.is_file():
        text = federation.read_text(encoding="utf-8")
        for long, short in _SHORT:
            text = text.replace(long, short)
        if "public_rounds" not in text:
            text = text.replace("\nrounds = ", "\npublic_rounds = 1\nrounds = ", 1)
        federation.write_text(text, encoding="utf-8")
    if plan.is_file() and not (folder / "RUN" / "rounds").is_dir():
        shrink(plan)
