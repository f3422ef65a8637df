"""A kit under a password: nothing of it can be read without, and nothing is unpacked elsewhere."""

from __future__ import annotations

import errno
import zipfile
import zlib
from pathlib import Path

import pytest

pytest.importorskip("pyzipper", reason="pip install 'fednnunet[network]'")

import pyzipper

from fednnunet.errors import InputError, StorageError
from fednnunet.federation.engines.network import kit_zip
from fednnunet.federation.engines.network.kit_zip import new_password, unzip_kit, zip_kit

SECRET = b"-----BEGIN PRIVATE KEY-----" * 40


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    kit = tmp_path / "made" / "north"
    (kit / "startup").mkdir(parents=True)
    (kit / "kit.json").write_text("{}")
    (kit / "startup" / "client.key").write_bytes(SECRET)
    zip_kit(kit, tmp_path / "north.zip", "right")
    return tmp_path / "north.zip"


def test_a_kit_comes_back_whole_and_is_its_owners_alone(archive: Path) -> None:
    assert SECRET[:20] not in archive.read_bytes()
    folder = unzip_kit(archive, "right")
    assert folder == archive.with_suffix("")
    assert (folder / "startup" / "client.key").read_bytes() == SECRET
    assert (folder / "startup" / "client.key").stat().st_mode & 0o077 == 0
    assert archive.stat().st_mode & 0o077 == 0
    with pytest.raises(InputError, match="already"):
        unzip_kit(archive, "right")


def test_another_password_opens_nothing(archive: Path) -> None:
    with pytest.raises(InputError, match="not the password"):
        unzip_kit(archive, "wrong")
    assert not archive.with_suffix("").exists()
    with zipfile.ZipFile(archive) as plain, pytest.raises((RuntimeError, NotImplementedError)):
        plain.read("north/kit.json")


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "north/../../evil", "a", "north\\..\\x"])
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "kit.zip"
    with pyzipper.AESZipFile(path, "w", encryption=pyzipper.WZ_AES) as made:
        made.setpassword(b"right")
        made.writestr(name, b"x")
    with pytest.raises(InputError, match="leads elsewhere"):
        unzip_kit(path, "right")
    assert not (tmp_path / "kit").exists() and not (tmp_path / "evil").exists()


def test_a_file_that_is_none_or_too_large_is_refused(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "text.zip").write_text("no archive")
    with pytest.raises(InputError, match="no archive of a kit"):
        unzip_kit(tmp_path / "text.zip", "right")
    monkeypatch.setattr(kit_zip, "_MAX_BYTES", 100)
    with pytest.raises(InputError, match="more or larger"):
        unzip_kit(archive, "right")


def test_a_disk_that_fails_leaves_no_half_of_a_kit(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.name == "client.key":
            raise OSError(errno.ENOSPC, "no space left")
        return write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(StorageError, match="no room"):
            unzip_kit(archive, "right")
    assert {path.name for path in archive.parent.iterdir()} == {"made", "north.zip"}
    assert (unzip_kit(archive, "right") / "startup" / "client.key").read_bytes() == SECRET


@pytest.mark.parametrize(
    "error", [NotImplementedError("compression"), zlib.error("invalid block type"), EOFError()]
)
def test_a_damaged_archive_is_not_a_wrong_password(
    archive: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> bytes:
        raise error

    monkeypatch.setattr(pyzipper.AESZipFile, "read", fail)
    with pytest.raises(InputError, match="no archive of a kit"):
        unzip_kit(archive, "right")


def test_passwords_are_long_and_never_the_same() -> None:
    made = {new_password() for _ in range(20)}
    assert len(made) == 20
    assert all(len(word.replace("-", "")) == 25 and not set(word) & set("il1o0") for word in made)
