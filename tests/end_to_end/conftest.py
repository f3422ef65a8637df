"""One tiny federation, planned and trained once for all tests of the folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from fednnunet.commands import train
from fednnunet.federation.site.site import Site
from fednnunet.federation.wire.messages import Message, unpack
from tests.end_to_end.tiny import drawn_pages, make_federation, make_planned, plain_pages


@dataclass(frozen=True, slots=True)
class TrainedSite:
    """A finished run, and what its sites sent while training: site, bytes, content."""

    run: Path
    federation: Path
    sent: list[tuple[str, bytes, Message]] = field(default_factory=list)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny convolutions are slower on many threads than on one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="package", autouse=True)
def _plain_pages() -> Iterator[None]:
    """One run draws all its pages, `trained`; the others do not."""
    with plain_pages():
        yield


@pytest.fixture(scope="session")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The federation file of three healthy sites. Tests that spoil data copy its folder."""
    return make_federation(tmp_path_factory.mktemp("hospitals"))


@pytest.fixture(scope="session")
def planned(federation: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder after planning. Tests copy it."""
    run = tmp_path_factory.mktemp("planned") / "run"
    make_planned(federation, run)
    return run


@pytest.fixture(scope="session")
def trained(
    planned: Path, federation: Path, tmp_path_factory: pytest.TempPathFactory
) -> TrainedSite:
    """A run trained without interruption, with all that left the sites."""
    run = tmp_path_factory.mktemp("trained") / "run"
    shutil.copytree(planned, run)
    result = TrainedSite(run, federation)
    whole = Site.answer

    def listened(site: Site, data: bytes) -> bytes:
        reply = whole(site, data)
        result.sent.append((site.name, reply, unpack(reply, sender=site.name)))
        return reply

    with pytest.MonkeyPatch.context() as patch, drawn_pages():
        patch.setattr(Site, "answer", listened)
        assert train.main([str(run)]) == 0
    return result


@pytest.fixture
def copy_of(tmp_path: Path) -> Callable[[Path], Path]:
    """Copy a folder, so that a test may spoil it."""

    def copy(folder: Path) -> Path:
        return Path(shutil.copytree(folder, tmp_path / folder.name))

    return copy
