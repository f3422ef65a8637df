"""What only some operating systems tell, with a fallback for the others."""

from __future__ import annotations

import ctypes
import importlib
import os
import sys
from pathlib import Path
from typing import Any

_UNKNOWN_MEMORY = 8 * 2**30
_LOCKED_BYTE = 1 << 30  # on Windows, where a lock is of bytes: beyond the end of a file


def lock_file(handle: int) -> None:
    """Wait for the lock on an open file, and hold it until the handle is closed."""
    try:
        fcntl: Any = importlib.import_module("fcntl")
    except ImportError:  # Windows
        msvcrt: Any = importlib.import_module("msvcrt")
        os.lseek(handle, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_LOCK, 1)
        return
    fcntl.flock(handle, fcntl.LOCK_EX)


def memory_bytes() -> int:
    """The machine's memory in bytes; 8 GiB where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf, others not every name
        return _windows_memory() or _UNKNOWN_MEMORY


def peak_memory_gib() -> float:
    """The most memory that this process has had so far, in GiB; 0 where the system does not say."""
    try:
        resource: Any = importlib.import_module("resource")
    except ImportError:  # Windows
        return 0.0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(most) / (2**30 if sys.platform == "darwin" else 2**20)  # bytes there, else KiB


def used_memory_bytes() -> int:
    """Memory that this process has now; the most it has had where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError, AttributeError):
        return int(peak_memory_gib() * 2**30)


def free_memory_bytes() -> int:
    """Memory that programs can still have: of the machine, or of the container this runs in.

    Half of the machine's memory where the system does not say.
    """
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = 1024 * next(int(li.split()[1]) for li in lines if li.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration, IndexError):
        return memory_bytes() // 2
    try:
        limit, used = (
            int(Path("/sys/fs/cgroup", name).read_text(encoding="ascii"))
            for name in ("memory.max", "memory.current")
        )
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        return free
    return min(free, max(limit - used, 0))


def is_read_only(folder: Path) -> bool:
    """Whether a folder is on a file system that is mounted read-only."""
    if not hasattr(os, "statvfs"):
        return False
    return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


class _MemoryStatus(ctypes.Structure):
    """MEMORYSTATUSEX of the Windows API."""

    _fields_ = (
        ("length", ctypes.c_ulong),
        ("load", ctypes.c_ulong),
        *((name, ctypes.c_ulonglong) for name in ("total", "free", "page_total", "page_free")),
        *((name, ctypes.c_ulonglong) for name in ("virtual_total", "virtual_free", "extended")),
    )


def _windows_memory() -> int:
    kernel = getattr(getattr(ctypes, "windll", None), "kernel32", None)
    if kernel is None:
        return 0
    status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
    return int(status.total) if kernel.GlobalMemoryStatusEx(ctypes.byref(status)) else 0
