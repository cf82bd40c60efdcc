"""How much memory there is, and numbers of bytes in words."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def memory() -> int:
    """Bytes of memory that this process may take: of the machine, its container, and its own limit."""
    limits = [2**47]
    # Each of these is there on some systems only.
    with contextlib.suppress(AttributeError, OSError, ValueError):
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    with contextlib.suppress(OSError, ValueError):
        limits.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    with contextlib.suppress(ImportError):
        import resource

        limits.append(resource.getrlimit(resource.RLIMIT_AS)[0])
    return min(limit for limit in limits if limit > 0)


def check_fits(size: int) -> None:
    """Refuses what needs more memory than there is.

    Args:
        size: Bytes.

    Raises:
        ValueError: If it does.
    """
    if size > memory():
        raise ValueError(f"it needs {in_words(size)} of memory, and this machine has {in_words(memory())}")


def in_words(size: float) -> str:
    """A number of bytes in words."""
    for unit, power in (("TB", 40), ("GB", 30), ("MB", 20)):
        if size >= 2**power:
            return f"{size / 2**power:.4g} {unit}"
    return f"{size:.0f} bytes"
