"""Memory of an unbounded run."""

import gc
import weakref
from types import SimpleNamespace

import pytest

from lake.memory import tidy


class _Ring:
    """Holds itself."""

    def __init__(self) -> None:
        self.itself = self


def ring() -> "weakref.ref[_Ring]":
    """One that nobody else holds."""
    return weakref.ref(_Ring())


def test_what_only_cycles_hold_is_freed_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 6_000.0
    monkeypatch.setattr("lake.memory.time", SimpleNamespace(monotonic=lambda: now))
    gc.disable()
    try:
        first = ring()
        tidy()
        assert first() is None
        second = ring()
        now += 59
        tidy()
        assert second() is not None
        now += 1
        tidy()
        assert second() is None
    finally:
        gc.enable()
