from __future__ import annotations

from dataclasses import fields

from fednnunet.planning.bounds import ACCEPTED, READABLE


def test_whatever_a_site_accepts_can_be_read() -> None:
    for field in fields(READABLE):
        accepted, readable = getattr(ACCEPTED, field.name), getattr(READABLE, field.name)
        if field.name.startswith("min_"):
            assert accepted >= readable, field.name
        else:
            assert accepted <= readable, field.name
