"""Changes the fields of a packed message, as a program that is not ours would write them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from fednnunet.federation.wire.messages import Message, pack


def forged(message: Message, change: Callable[[dict[str, Any]], Any]) -> bytes:
    """The message as bytes, with other fields."""
    data = pack(message)
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    content = json.loads(header["__metadata__"]["message"])
    content["fields"] = change(content["fields"])
    header["__metadata__"]["message"] = json.dumps(content)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + length :]
