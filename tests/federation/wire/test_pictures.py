"""Pictures in a message: what is a small PNG passes, and nothing else."""

from __future__ import annotations

import pytest
import torch

from fednnunet.errors import ReplyError
from fednnunet.federation.wire.pictures import MAX_BYTES, as_tensors, pictures_in, ranks_of

START, END = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", b"\x00\x00\x00\x00IEND\xaeB`\x82"


def a_png(*, width: int = 3, height: int = 2, body: bytes = b"pixels") -> bytes:
    """The first and last bytes of a PNG, with `body` between them."""
    return START + width.to_bytes(4, "big") + height.to_bytes(4, "big") + body + END


def test_pictures_come_back_by_their_rank() -> None:
    pictures = {"median": a_png(body=b"2"), "worst": a_png(body=b"1")}
    tensors = as_tensors(pictures | {"none": b""})
    assert ranks_of(tensors) == ("worst", "median")
    assert pictures_in(tensors, site="a") == pictures
    assert pictures_in({}, site="a") == {}


@pytest.mark.parametrize(
    "tensors",
    [
        as_tensors({"case_7": a_png()}),
        as_tensors({"worst": b"<svg onload='alert(1)'/>"}),
        as_tensors({"worst": a_png() + b"<script>"}),
        as_tensors({"worst": a_png(width=10**6)}),
        as_tensors({"worst": a_png(height=0)}),
        as_tensors({"worst": a_png(body=bytes(MAX_BYTES))}),
        {"picture.worst": torch.zeros(3)},
        {"picture.worst": torch.zeros(3, 3, dtype=torch.uint8)},
        {"weights": torch.zeros(3, dtype=torch.uint8)},
    ],
)
def test_anything_else_is_refused(tensors: dict[str, torch.Tensor]) -> None:
    with pytest.raises(ReplyError, match="reply of site berlin"):
        pictures_in(tensors, site="berlin")
