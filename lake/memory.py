"""Settings of malloc and of the garbage collector: page faults took a fifth of a run's CPU time."""

import ctypes
import ctypes.util
import gc
import time
from functools import cache, lru_cache

import pyarrow as pa

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""From glibc's malloc.h."""
_LARGEST_MMAP_THRESHOLD = 32 << 20
_TRIM_THRESHOLD = 1 << 30
_ARENAS = 2
_COLLECT_AFTER = (100_000, 50, 50)
"""Decoded messages are thousands of tuples without cycles: collections took a fifth of a stream's time."""


@cache
def keep_memory() -> None:
    """Let this process keep freed memory, in one pool.

    Does nothing without glibc. (2 M rows: 1.6 - 2.0 s of system time before, 0.7 - 0.9 s after; peak RSS
    840 MB before, 690 MB after.)
    """
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)
    if libc := _glibc():
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
        libc.mallopt(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD)
        pa.set_memory_pool(pa.system_memory_pool())


def tidy() -> None:
    """At most once a minute, collect cycles and return unused pages to the system.

    With the settings above both happen too seldom in an unbounded run (decision 011).
    """
    _tidy_in(int(time.monotonic() / 60))


@lru_cache(1)
def _tidy_in(minute: int) -> None:
    gc.collect()
    if libc := _glibc():
        libc.malloc_trim(0)


def share_memory() -> None:
    """Let the threads of an unbounded run share few of malloc's arenas: glibc makes eight per core, and memory freed in
    one is not reused by another (151 MB allocated for 53 MB in use; decision 011)."""
    if libc := _glibc():
        libc.mallopt(_M_ARENA_MAX, _ARENAS)


@cache  # to look for it starts a process
def _glibc() -> ctypes.CDLL | None:
    """The C library, if its malloc has these settings."""
    libc = ctypes.CDLL(ctypes.util.find_library("c"))
    return libc if hasattr(libc, "mallopt") else None
