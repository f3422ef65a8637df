"""Files that are either whole or not there, and what to say where a disk will not take them."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fednnunet import system
from fednnunet.errors import FedNNUNetError, InputError, StorageError

_AGAIN = "then run the same command again: it goes on from where it was"
_FULL = ("there is no room left on the disk", f"free some space there, {_AGAIN}")
_DENIED = ("the folder may not be written", "give yourself the right to write, or choose another")
_STORAGE = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: ("your share of the disk is used up", f"free some space there, {_AGAIN}"),
    errno.EFBIG: ("the file is larger than is allowed there", f"raise that limit, {_AGAIN}"),
    errno.EROFS: ("the disk is read-only", f"make it writable or choose another folder, {_AGAIN}"),
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
    errno.ENOTDIR: ("a file stands where a folder is needed", "name another folder, or move it"),
    errno.EEXIST: ("a file stands where a folder is needed", "name another folder, or move it"),
    errno.EISDIR: ("a folder stands where the file is to go", "name another file, or move it"),
    errno.ENOTEMPTY: ("a folder stands where the file is to go", "name another file, or move it"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter one"),
    errno.EIO: ("the disk fails", f"see to the disk, {_AGAIN}"),
}
_NO_ROOM = 1 << 16  # bytes: with less on the disk, a library's failure to write is that
_FULL_WORDS = ("no space left", "os error 28", "disk quota exceeded", "os error 122")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; on success it takes the name.

    The content reaches the disk before the name does, so that a power cut leaves the old file or
    the new one. The temporary name keeps the ending of `path` (`.nii.gz` stays `.nii.gz`), since
    some writers choose the format by it. Raises StorageError where the disk does not take it; then,
    as after any other error, the earlier file is as it was.
    """
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    with storing(path, temporary):
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)


@contextmanager
def storing(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Turn the errors of a disk that does not take `path` into one StorageError.

    Libraries report a full disk in words of their own, or in none: what they raise while there is
    no room is that. A `temporary` file or folder is removed at the end.
    """
    try:
        yield
    except FedNNUNetError:
        raise
    except Exception as error:
        found = storage_error(error, path)
        if found is None:
            raise
        raise found from None
    finally:
        if temporary is not None:
            _remove(temporary)


def storage_error(error: Exception, path: Path) -> StorageError | None:
    """The error of ours for one that a disk caused while `path` was written; else `None`."""
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, OSError) and number in _STORAGE:
        named = error.filename2 or error.filename
        what, mend = _STORAGE[number]
        place = Path(os.fsdecode(named)) if isinstance(named, (str, bytes)) else path
        return _stored(what, path if number in (errno.ENOSPC, errno.EDQUOT) else place, mend)
    if any(words in str(error).lower() for words in _FULL_WORDS):
        return no_room(path)
    if number is None and _free(path) < _NO_ROOM:
        return no_room(path)
    return None


def no_room(path: Path, why: str = "") -> StorageError:
    """The error of a disk that has no room for `path`."""
    what, mend = _FULL
    return _stored(f"{what}: {why}" if why else what, path, mend)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    if path.is_dir() and os.name == "nt":
        return  # a folder cannot be opened there
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text to `path` atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait until no other process or thread holds the lock on the file `path`, and hold it.

    The file is made if it is not there; others may still read and write it.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        system.lock_file(handle)
        yield
    finally:
        os.close(handle)  # gives the lock back


@contextmanager
def private_files() -> Iterator[None]:
    """Make what is written meanwhile, by this process and those it starts, its owner's alone."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def _stored(what: str, path: Path, mend: str) -> StorageError:
    return StorageError(f"{path.name} cannot be written: {what}", where=str(path), mend=mend)


def _free(path: Path) -> int:
    """Free bytes on the disk of the nearest folder that there is."""
    folder = next((parent for parent in path.parents if parent.is_dir()), None)
    try:
        return shutil.disk_usage(folder).free if folder else _NO_ROOM
    except OSError:
        return _NO_ROOM


def _remove(path: Path) -> None:
    with suppress(OSError):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def sha256_of(path: Path) -> bytes:
    """The SHA-256 of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def read_lines(path: Path, *, mend: str) -> list[str]:
    """The lines of a reader's list, without those that begin with #.

    Raises InputError, with the `mend`, for a file that is no text.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"the list {path.name} cannot be read: {error}", where=str(path), mend=mend
        ) from None
    return [line for line in lines if line and not line.startswith("#")]
