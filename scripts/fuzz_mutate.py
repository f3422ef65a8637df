"""Seeded mutations of bytes, of parsed JSON or TOML, and of safetensors files."""

from __future__ import annotations

import copy
import json
import random
import string
from collections.abc import Callable
from typing import Any

import numpy as np

_WORDS = ("", "a", "\x00", "../../../etc", "[/bold]", "=1+1", "\x1b[31m", "\ud800", "x" * 5000)
_NUMBERS = (0, 1, -1, 2, 7, 255, 2**31, 2**63, -(2**63), 10**9, 10**400)
_FLOATS = (0.5, -0.5, 1e-300, 1e300, 1e308, float("nan"), float("inf"), float("-inf"))
_BYTES = (0, 1, 2, 3, 4, 8, 16, 32, 63, 64, 127, 128, 192, 241, 254, 255)


def nasty(rng: random.Random, depth: int = 0) -> Any:
    """A value that a careless reader stumbles over."""
    kind = rng.randrange(8)
    if kind == 0:
        return rng.choice((None, True, False))
    if kind in (1, 2):
        return rng.choice(_NUMBERS)
    if kind == 3:
        return rng.choice(_FLOATS)
    if kind in (4, 5) or depth > 2:
        return rng.choice(_WORDS)
    inner = [nasty(rng, depth + 1) for _ in range(rng.randrange(4))]
    if kind == 6:
        return inner
    return {rng.choice(string.ascii_lowercase): value for value in inner}


def mutate_value(rng: random.Random, data: Any) -> Any:
    """A copy of parsed JSON with one to four places changed, removed, doubled or added."""
    data = copy.deepcopy(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        data = _mutate_once(rng, data)
    return data


def _mutate_once(rng: random.Random, data: Any) -> Any:
    places = [place for place in _places(data) if place[0] is not None]
    if not places or rng.random() < 0.02:
        return nasty(rng)
    parent, key = rng.choice(places)
    action = rng.randrange(10)
    if action == 0:
        del parent[key]
    elif action == 1 and isinstance(parent, dict):
        parent[rng.choice((*parent, "tensors", "extra", "\x00"))] = nasty(rng)
    elif action == 1:
        parent.insert(rng.randrange(len(parent) + 1), copy.deepcopy(parent[key]))
    elif action == 2 and isinstance(parent, dict):
        parent[rng.choice(_WORDS)] = parent.pop(key)
    elif action in (3, 4, 5):
        parent[key] = _near(rng, parent[key])
    else:
        parent[key] = nasty(rng)
    return data


def _near(rng: random.Random, value: Any) -> Any:
    """Something of the same type that may be just outside of what is allowed."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return rng.choice((value + 1, value - 1, -value, value * 1000, *_NUMBERS))
    if isinstance(value, float):
        return rng.choice((-value, value * 1e6, value * 1e-9, *_FLOATS))
    if isinstance(value, str):
        return rng.choice((value * 2, value[:-1], value.upper(), *_WORDS))
    if isinstance(value, list):
        return rng.choice(([], value * 2, value[::-1], value[:1]))
    return nasty(rng)


def _places(data: Any, parent: Any = None, key: Any = None) -> list[tuple[Any, Any]]:
    """Every place of a parsed document as (container, key), the document itself first."""
    found = [(parent, key)]
    if isinstance(data, dict):
        for name, value in data.items():
            found += _places(value, data, name)
    elif isinstance(data, list):
        for index, value in enumerate(data[:50]):
            found += _places(value, data, index)
    return found


def mutate_json(rng: random.Random, data: Any) -> bytes:
    """JSON text of a changed document; now and then deeply nested, or broken as text."""
    kind = rng.random()
    if kind < 0.02:
        depth = rng.choice((500, 5000, 100_000))
        return b"[" * depth + b"]" * depth
    text = to_json(mutate_value(rng, data))
    return mutate_bytes(rng, text) if kind < 0.12 else text


def to_json(value: Any) -> bytes:
    """JSON, with the numbers that JSON has no words for, and lone surrogates, as they are."""
    return json.dumps(value).encode("utf-8", "surrogatepass")


def mutate_toml(rng: random.Random, data: Any) -> bytes:
    """TOML text of a changed document."""
    kind = rng.random()
    if kind < 0.02:
        depth = rng.choice((500, 5000))
        return b"a = " + b"[" * depth + b"]" * depth
    changed = mutate_value(rng, data)
    text = to_toml(changed if isinstance(changed, dict) else {"a": changed}).encode(
        "utf-8", "surrogatepass"
    )
    return mutate_bytes(rng, text) if kind < 0.12 else text


def to_toml(data: dict[str, Any]) -> str:
    """A document as TOML with inline tables; null is left out."""
    return "\n".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in data.items() if v is not None)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        pairs = (f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items() if v is not None)
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(v) for v in value if v is not None) + "]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value)


def mutate_bytes(rng: random.Random, data: bytes, *, within: int | None = None) -> bytes:
    """Bytes with one to six bytes set, a part cut, doubled or removed; `within` the first so many.

    With `within` the length mostly stays, so that what follows a header is still in its place.
    """
    content = bytearray(data)
    end = min(within or len(content), len(content))
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        if not end:
            break
        at, kind = rng.randrange(end), rng.random()
        if kind < 0.75:
            content[at] = rng.choice((*_BYTES, rng.randrange(256), content[at] ^ 1 << at % 8))
        elif kind < 0.85:
            content[at : at + 4] = rng.randbytes(4)
        elif kind < 0.9:
            del content[rng.randrange(len(content)) :]
        elif kind < 0.95:
            content[at:at] = content[at : at + rng.randrange(1, 64)]
        else:
            del content[at : at + rng.randrange(1, 64)]
        end = min(end, len(content))
    return bytes(content)


def mutate_safetensors(
    rng: random.Random, data: bytes, change: Callable[[random.Random, Any], Any] = mutate_value
) -> bytes:
    """A safetensors file with its header changed, or its bytes."""
    if rng.random() < 0.15:
        return mutate_bytes(rng, data)
    header, body = split_safetensors(data)
    return join_safetensors(change(rng, header), body)


def split_safetensors(data: bytes) -> tuple[Any, bytes]:
    """Header as parsed JSON, and the tensors' bytes."""
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def join_safetensors(header: Any, body: bytes) -> bytes:
    """The file of a header and the tensors' bytes."""
    text = to_json(header)
    return len(text).to_bytes(8, "little") + text + body


def mutate_array(rng: random.Random, array: np.ndarray) -> np.ndarray:
    """A copy of a vector with a few entries changed, or of another length."""
    changed = array.copy()
    kind = rng.random()
    if kind < 0.05:
        return changed[: rng.randrange(len(changed))]
    used = np.flatnonzero(changed)
    for _ in range(rng.choice((1, 2, 5))):
        anywhere = rng.random() < 0.3 or not len(used)
        at = rng.randrange(len(changed)) if anywhere else int(rng.choice(list(used)))
        values = (0.0, 1.0, -1.0, changed[at] * 1.5, changed[at] + 1, -changed[at], 1e15, *_FLOATS)
        changed[at] = rng.choice(values)
    return changed


def mutate_text_header(rng: random.Random, data: bytes, *, lines: int) -> bytes:
    """An image file whose first so many lines are text: one line's value changed, or bytes."""
    if rng.random() < 0.3:
        return mutate_bytes(rng, data, within=400)
    parts = data.split(b"\n", lines)
    at = rng.randrange(len(parts) - 1)
    name, sign, _ = parts[at].partition(b"=" if b"=" in parts[at] else b":")
    values = (b"", b"0", b"-1", b"1 1 1", b"1000000000 2 2", b"65536 65536 65536", b"nan nan nan")
    values += (b"1e308 1e308 1e308", b"LIST", b"a%03d.raw 1 9 1", b"../secret.txt", b"/etc/passwd")
    values += (b"MET_DOUBLE", b"double", b"gzip", b"bzip2", b"raw", b"ascii", b"True", b"3", b"16")
    values += (b"secret.txt", b"LOCAL", b"(0,0,0) (0,0,0) (0,0,0)", b"99999999999999999999")
    action = rng.randrange(10)
    if action == 0:
        del parts[at]
    elif action == 1:
        parts.insert(at, parts[rng.randrange(len(parts) - 1)])
    else:
        parts[at] = name + sign + b" " + rng.choice(values)
    return b"\n".join(parts)
