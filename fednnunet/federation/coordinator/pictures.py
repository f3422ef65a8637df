"""Pictures that sites share, in the coordinator's folder: `pictures/SITE/MODEL_RANK.png`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fednnunet.federation.wire.messages import EvaluateReply
from fednnunet.federation.wire.pictures import SHARED_RANKS, pictures_in
from fednnunet.files import replacing

FOLDER = "pictures"


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedPicture:
    """A picture of a case of a site, which nobody names: `rank` is "worst" or "median"."""

    site: str
    model: str
    rank: str
    png: bytes


def keep_pictures(folder: Path, model: str, replies: Mapping[str, EvaluateReply]) -> None:
    """Write the pictures of a model that came with its scores; earlier ones of it are removed."""
    for old in (folder / FOLDER).glob(f"*/{model}_*.png"):
        old.unlink()
    for site, reply in replies.items():
        for rank, png in pictures_in(reply.tensors, site=site).items():
            with replacing(folder / FOLDER / site / f"{model}_{rank}.png") as temporary:
                temporary.write_bytes(png)


def read_pictures(folder: Path) -> tuple[SharedPicture, ...]:
    """All pictures in a run folder, by site and model, the worst case's first."""
    found = []
    for place in sorted((folder / FOLDER).glob("*/")):
        for rank in SHARED_RANKS:
            for path in sorted(place.glob(f"*_{rank}.png")):
                model = path.stem.removesuffix(f"_{rank}")
                picture = SharedPicture(
                    site=place.name, model=model, rank=rank, png=path.read_bytes()
                )
                found.append(picture)
    return tuple(found)
