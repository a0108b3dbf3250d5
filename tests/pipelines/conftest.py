"""Fixtures of the commands' tests."""

import atexit
import os
import signal
import sys
from collections.abc import Iterator

import pytest


@pytest.fixture
def leaving(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Commands end here by an exception, and the process lives."""
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(os, "_exit", sys.exit)
    monkeypatch.setattr(atexit, "_run_exitfuncs", lambda: None)
    yield
    signal.signal(signal.SIGTERM, before)
