"""The header of a message: its fields as JSON, in the metadata of a safetensors file.

It is measured before it is read, since whoever sent it may have written anything.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_FIELDS = 2**22  # characters of a message's fields as JSON
MAX_HEADER = 2**24  # bytes of fields, names and shapes of the tensors together


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The name of a message's kind, its fields, and the number of its schema."""

    kind: str
    fields: dict[str, Any]
    schema: Any


def read_header(data: bytes) -> Header:
    """The header at the beginning of `data`; some error is raised for all other bytes."""
    length = int.from_bytes(data[:8], "little")
    if length > MAX_HEADER:
        raise ValueError(f"a header of {length} bytes")
    text = json.loads(data[8 : 8 + length])["__metadata__"]["message"]
    if len(text) > MAX_FIELDS:
        raise ValueError(f"fields of {len(text)} characters")
    content = json.loads(text)
    fields = dict(content["fields"])
    if "tensors" in fields:  # they do not travel as JSON
        raise ValueError("tensors among the fields")
    if content.keys() != {"schema", "kind", "fields"}:
        raise ValueError("other parts than a message has")
    return Header(kind=content["kind"], fields=fields, schema=content["schema"])


def start_of(path: Path) -> bytes:
    """The first bytes of a file, as many as its header has, and no more than a header may have."""
    with path.open("rb") as file:
        start = file.read(8)
        return start + file.read(min(int.from_bytes(start, "little"), MAX_HEADER))
