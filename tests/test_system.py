"""What a system does not tell has a fallback."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from fednnunet import system


def test_this_machine_has_memory_and_this_process_has_used_some() -> None:
    assert system.memory_bytes() > 2**28
    assert 0.01 < system.peak_memory_gib() < 100


def test_a_system_without_sysconf_statvfs_and_resource(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As on Windows, but for its own call for the memory."""
    monkeypatch.delattr(os, "sysconf")
    monkeypatch.delattr(os, "statvfs")
    monkeypatch.setitem(sys.modules, "resource", None)
    assert system.memory_bytes() == 8 * 2**30
    assert system.peak_memory_gib() == 0.0
    assert not system.is_read_only(tmp_path)


def test_no_module_needs_what_only_one_system_has() -> None:
    """Only `system` uses these names, and it has fallbacks."""
    only = ("import resource\n", "import fcntl", "os.sysconf", "os.statvfs", "os.fork", "os.getuid")
    package = Path(system.__file__).parent
    found = [
        f"{path.name}: {name}"
        for path in package.rglob("*.py")
        if path.name != "system.py"
        for name in only
        if name in path.read_text(encoding="utf-8")
    ]
    assert not found


def test_memory_that_is_used_and_free_is_within_the_machines() -> None:
    assert 2**24 < system.used_memory_bytes() < system.memory_bytes()
    assert 0 < system.free_memory_bytes() <= system.memory_bytes()
