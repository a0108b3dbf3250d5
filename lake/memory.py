"""Memory that is given back to the system is paid for twice: a fifth of a run's CPU time went into page faults."""

import ctypes
import ctypes.util
import gc
import time
from functools import cache, lru_cache

import pyarrow as pa

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""glibc's numbers for them, in malloc.h."""
_LARGEST_MMAP_THRESHOLD = 32 << 20
_TRIM_THRESHOLD = 1 << 30
_ARENAS = 2
_COLLECT_AFTER = (100_000, 50, 50)
"""Decoded messages are tuples by the thousand and make no cycles: looking for some takes a fifth of a stream's time."""


@cache
def keep_memory() -> None:
    """Let this process keep the memory that its blocks and columns take, and take it from one pool.

    Where there is no glibc it is as it was. (2 M rows: 1.6 - 2.0 s of system time before, 0.7 - 0.9 s after; peak RSS
    840 MB before, 690 MB after.)
    """
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)
    if libc := _glibc():
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
        libc.mallopt(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD)
        pa.set_memory_pool(pa.system_memory_pool())


def tidy() -> None:
    """At most once a minute, free what only cycles hold and give back the pages that malloc holds for nothing.

    With the settings above Python looks for cycles, and malloc gives pages back, too seldom for a process that runs
    without end (decision 011).
    """
    _tidy_in(int(time.monotonic() / 60))


@lru_cache(1)
def _tidy_in(minute: int) -> None:
    gc.collect()
    if libc := _glibc():
        libc.malloc_trim(0)


def share_memory() -> None:
    """Let the threads of a process that runs without end share few of malloc's arenas: glibc makes eight a core, and
    what is freed in one of them no other one can use (151 MB held for 53 MB in use; decision 011)."""
    if libc := _glibc():
        libc.mallopt(_M_ARENA_MAX, _ARENAS)


@cache  # to look for it starts a process
def _glibc() -> ctypes.CDLL | None:
    """The C library, if its malloc has these settings."""
    libc = ctypes.CDLL(ctypes.util.find_library("c"))
    return libc if hasattr(libc, "mallopt") else None
