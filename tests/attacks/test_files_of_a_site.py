"""Files of a site that others on its machine could read."""

from __future__ import annotations

import os
import stat

import pytest

from fednnunet.commands.cli import run_command
from fednnunet.files import write_text
from fednnunet.preprocess import dicom


@pytest.fixture
def usual_umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_command_at_a_site_writes_for_its_owner_alone(tmp_path, usual_umask):
    path = tmp_path / "site" / "ledger.jsonl"
    assert run_command(lambda: write_text(path, "a"), private=True) == 0
    assert mode(path) == 0o600
    assert mode(path.parent) == 0o700
    write_text(tmp_path / "after", "a")
    assert mode(tmp_path / "after") == 0o644


def test_the_mapping_of_patients_is_private_from_its_first_byte_on(
    tmp_path, usual_umask, monkeypatch
):
    seen = []
    rename = os.replace

    def watch(old, new):
        seen.append(mode(old))
        rename(old, new)

    monkeypatch.setattr(os, "replace", watch)
    dicom._write_mapping(tmp_path / "who.json", dicom.Mapping(cases={}))
    assert seen == [0o600]
    assert mode(tmp_path / "who.json") == 0o600
