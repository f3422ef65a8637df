"""A message's header is measured before it is read, and has the parts of a message alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fednnunet.federation.wire import header
from fednnunet.federation.wire.header import read_header, start_of
from fednnunet.federation.wire.messages import ProbeReply, pack

MESSAGE = pack(ProbeReply(dice_loss=0.5))


def with_content(content: object) -> bytes:
    text = json.dumps({"__metadata__": {"message": json.dumps(content)}}).encode()
    return len(text).to_bytes(8, "little") + text


def test_kind_fields_and_schema_are_read() -> None:
    found = read_header(MESSAGE)
    assert (found.kind, found.fields, found.schema) == ("ProbeReply", {"dice_loss": 0.5}, 1)


@pytest.mark.parametrize(
    "content",
    [
        {"schema": 1, "kind": "ProbeReply"},
        {"schema": 1, "kind": "ProbeReply", "fields": {}, "code": ""},
        {"schema": 1, "kind": "ProbeReply", "fields": {"tensors": {}}},
    ],
)
def test_other_parts_are_refused(content: object) -> None:
    with pytest.raises((ValueError, KeyError)):
        read_header(with_content(content))


def test_a_header_is_measured_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m").write_bytes(MESSAGE + b"more" * 100)
    start = start_of(tmp_path / "m")
    assert len(start) < len(MESSAGE) + 400 and read_header(start).kind == "ProbeReply"
    monkeypatch.setattr(header, "MAX_FIELDS", 3)
    with pytest.raises(ValueError, match="characters"):
        read_header(MESSAGE)
    monkeypatch.setattr(header, "MAX_HEADER", 9)
    assert len(start_of(tmp_path / "m")) == 17
    with pytest.raises(ValueError, match="a header of"):
        read_header(MESSAGE)
