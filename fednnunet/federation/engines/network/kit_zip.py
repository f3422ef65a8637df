"""A start-up kit as one file under a password: a zip archive encrypted by AES-256.

The password is made here, long enough that guessing it is hopeless, and must go another way than
the file. 7-Zip opens such an archive, too.
"""

from __future__ import annotations

import os
import secrets
import zipfile
import zlib
from pathlib import Path, PurePosixPath

import pyzipper

from fednnunet.errors import InputError
from fednnunet.files import private_files, replacing, storing

_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none that is taken for another
_GROUPS, _GROUP = 5, 5  # 25 letters, 124 bits
_MAX_FILES, _MAX_BYTES = 1000, 2**24  # of a kit, which has some dozens of small files
_DAMAGED = (OSError, ValueError, EOFError, zlib.error, zipfile.BadZipFile, pyzipper.BadZipFile)


def new_password() -> str:
    """A password in groups of letters and digits, to be said by telephone."""
    groups = ["".join(secrets.choice(_LETTERS) for _ in range(_GROUP)) for _ in range(_GROUPS)]
    return "-".join(groups)


def zip_kit(kit: Path, path: Path, password: str) -> None:
    """Write the folder `kit` to the archive `path`, names below the folder's own."""
    with (
        private_files(),
        replacing(path) as temporary,
        pyzipper.AESZipFile(
            temporary,
            "w",
            compression=zipfile.ZIP_DEFLATED,
            encryption=pyzipper.WZ_AES,
        ) as archive,
    ):
        archive.setpassword(password.encode())
        for file in sorted(kit.rglob("*")):
            if file.is_file():
                name = PurePosixPath(kit.name, *file.relative_to(kit).parts)
                archive.writestr(str(name), file.read_bytes())


def unzip_kit(path: Path, password: str) -> Path:
    """Unpack an archive beside itself; returns the kit's folder, which must not be there yet.

    Nothing is there under the folder's name until all of it is. Raises InputError for another
    password, and for what is no kit's archive; StorageError where the disk does not take it.
    """
    folder = path.parent / path.stem
    if folder.exists():
        raise InputError(
            f"there is a folder {folder.name} already",
            where=str(folder),
            mend=f"give that folder instead of {path.name}, or remove it",
        )
    try:
        files = _files(path, password)
    except (*_DAMAGED, NotImplementedError) as error:  # the latter is a RuntimeError
        raise InputError(
            f"the file is no archive of a kit: {error}",
            where=str(path),
            mend="ask for the file again",
        ) from None
    except RuntimeError:
        raise InputError(
            f"this is not the password of {path.name}",
            where=str(path),
            mend="type the password that fednnunet_provision has shown for this file",
        ) from None
    temporary = folder.with_name(f".tmp-{os.getpid()}-{folder.name}")
    with private_files(), storing(folder, temporary):
        for place, data in files.items():
            target = temporary.joinpath(*place.parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        os.replace(temporary, folder)
    return folder


def _files(path: Path, password: str) -> dict[PurePosixPath, bytes]:
    """The files of an archive, by their place below the one folder in it."""
    found: dict[PurePosixPath, bytes] = {}
    with pyzipper.AESZipFile(path) as archive:
        archive.setpassword(password.encode())
        entries = archive.infolist()
        if len(entries) > _MAX_FILES or sum(e.file_size for e in entries) > _MAX_BYTES:
            raise ValueError("it has more or larger files than a kit")
        for entry in entries:
            place = PurePosixPath(entry.filename)
            parts = place.parts
            if place.is_absolute() or ".." in parts or len(parts) < 2 or "\\" in entry.filename:
                raise ValueError("a name in it leads elsewhere")
            found[PurePosixPath(*parts[1:])] = archive.read(entry)
    return found
