from __future__ import annotations

import ctypes
import platform
import subprocess
import sys

import pytest

from fednnunet.training import allocator as heap

PROGRAM = """
import resource
import torch
from fednnunet.training.allocator import keep_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def pages_touched():
    before = faults()
    for _ in range(8):
        torch.ones(16, 2**20)
    return faults() - before

returned = min(pages_touched() for _ in range(4))
assert keep_freed_memory()
kept = min(pages_touched() for _ in range(4))  # the first of them still asks for pages
assert kept < returned / 8, (kept, returned)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is not glibc's")
def test_memory_that_was_freed_is_taken_again_without_new_pages():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_no_size_is_large_enough_to_be_returned(monkeypatch):
    """As an unsigned size -1 is the largest there is; 2**31 - 1 would be 2 GiB."""
    asked = []

    class Library:
        def mallopt(self, name, value):
            asked.append((name, value))
            return 1

    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.36"))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Library())
    assert heap.keep_freed_memory()
    assert dict(asked)[-1] == -1 and ctypes.c_size_t(dict(asked)[-1]).value == 2**64 - 1


def test_another_allocator_is_left_alone(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not heap.keep_freed_memory()
