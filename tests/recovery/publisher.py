"""Publish a recording at a steady rate, in a thread of its own, and go on while servers are killed."""

import threading
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self

from apps.simulator.transport.open import open_sink, target_of

_TURN = 500
"""Messages between two looks at the clock."""


class Publishing:
    """While the ``with`` block runs, publishes the lines of a file.

    Args:
        url: a topic, as the simulator takes it.
        rate: messages a second.
    """

    def __init__(self, recording: Path, url: str, rate: float) -> None:
        self._recording = recording
        self._url = url
        self._rate = rate
        self._stop = threading.Event()
        self._hurry = threading.Event()
        self._failed: Exception | None = None
        self.published = 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def stop(self) -> None:
        """Publish no more; what was published until then is acknowledged. Raises what went wrong."""
        self._stop.set()
        self._thread.join()
        if self._failed:
            raise self._failed

    def hurry(self) -> None:
        """Publish the rest as fast as it goes."""
        self._hurry.set()

    @property
    def done(self) -> bool:
        """Whether all was published and acknowledged. Raises what went wrong."""
        if self._failed:
            raise self._failed
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._publish()
        except Exception as error:  # noqa: BLE001  # raised by `done`, in the thread that asks
            self._failed = error

    def _publish(self) -> None:
        started = time.monotonic()
        with open_sink(target_of(self._url)) as sink:
            for lines in _turns(self._recording):
                # A key of its own for each message spreads them over the partitions.
                sink.write(lines, [str(self.published + n) for n in range(len(lines))])
                self.published += len(lines)
                ahead = self.published / self._rate - (time.monotonic() - started)
                if self._stop.wait(0 if self._hurry.is_set() else max(ahead, 0)):
                    return


def _turns(recording: Path) -> Iterator[list[bytes]]:
    with recording.open("rb") as file:
        while lines := [line.removesuffix(b"\n") for line in islice(file, _TURN)]:
            yield lines
