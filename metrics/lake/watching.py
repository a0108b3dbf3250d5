"""Look at lake and topics again and again, beside other work."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from metrics.lake.collector import Metrics


@contextmanager
def watching(metrics: Metrics, every: float) -> Iterator[None]:
    """Look every so many seconds, in a thread, while the body runs; it ends without waiting for a look."""
    done = threading.Event()

    def look_again() -> None:
        metrics.look()
        while not done.wait(every):
            metrics.look()

    threading.Thread(target=look_again, name="metrics", daemon=True).start()
    try:
        yield
    finally:
        done.set()
