"""Pictures of cases in a message: PNG files as tensors of bytes, which a site shares if it likes.

They are named by their rank at the site, never by a case.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from fednnunet.errors import ReplyError

SHARED_RANKS = ("worst", "median")
MAX_BYTES = 2**22  # of one picture
MAX_SIDE = 4096  # pixels
_PREFIX = "picture."
_START = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_MEND = "give coordinator and sites the same version of the program"


def as_tensors(pictures: Mapping[str, bytes]) -> dict[str, Tensor]:
    """The tensors of a message for the PNG of each rank."""
    return {
        f"{_PREFIX}{rank}": torch.frombuffer(bytearray(png), dtype=torch.uint8)
        for rank, png in pictures.items()
        if png
    }


def ranks_of(tensors: Mapping[str, Tensor]) -> tuple[str, ...]:
    """The ranks of the pictures in a message, the worst case's first."""
    return tuple(rank for rank in SHARED_RANKS if f"{_PREFIX}{rank}" in tensors)


def pictures_in(tensors: Mapping[str, Tensor], *, site: str) -> dict[str, bytes]:
    """The PNG of each rank in a site's message.

    Raises ReplyError for any other tensor, and for what is no PNG of a size for a report.
    """
    known = {f"{_PREFIX}{rank}": rank for rank in SHARED_RANKS}
    found = {}
    for name, tensor in tensors.items():
        fits = tensor.dtype == torch.uint8 and tensor.dim() == 1 and tensor.numel() <= MAX_BYTES
        png = tensor.numpy().tobytes() if name in known and fits else b""
        if not _is_small_png(png):
            raise ReplyError(
                "a message of scores holds a tensor that is not a picture as a site shares it",
                where=f"reply of site {site}",
                mend=_MEND,
            )
        found[known[name]] = png
    return found


def _is_small_png(data: bytes) -> bool:
    """Whether these are a PNG's first and last bytes, with sides of at most `MAX_SIDE` pixels."""
    if not (data.startswith(_START) and data.endswith(_END)):
        return False
    at = len(_START)
    sides = (int.from_bytes(data[at + i : at + i + 4], "big") for i in (0, 4))
    return all(0 < side <= MAX_SIDE for side in sides)
