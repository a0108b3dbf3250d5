"""A deadline for a whole call to a server, however slowly the server sends its bytes."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import TypeVar

T = TypeVar("T")


class GivenUp(Exception):
    """The deadline of a call has passed: the call ends and is not retried."""


class _Call:
    """The connections of a call, as duplicated descriptors: they can be shut down whatever their owner does with them
    (wraps them in TLS, blocks in a read)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._is_over = False

    def add(self, connection: socket.socket) -> None:
        with self._lock:
            if self._is_over:
                connection.close()
            self.check()
            self._open.append(socket.socket(fileno=os.dup(connection.fileno())))

    def check(self) -> None:
        if self._is_over:
            raise GivenUp

    def let_go(self) -> None:
        with self._lock:
            while self._open:
                self._open.pop().close()

    def end(self) -> None:
        with self._lock:
            self._is_over = True
            for connection in self._open:
                with suppress(OSError):  # the other end was faster
                    connection.shutdown(socket.SHUT_RDWR)


_here = threading.local()


def within(seconds: float, call: Callable[[], T]) -> T:
    """The result of the call, or its error. Unlike a socket's timeout the deadline does not restart with each byte.

    Args:
        call: makes its attempts in :func:`attempt`, and registers its connections with :func:`opened`.

    Raises:
        TimeoutError: it takes longer. Its connections are shut down, and its thread ends.
    """
    result: Future[T] = Future()
    made = _Call()

    def run() -> None:
        _here.call = made
        try:
            result.set_result(call())
        except BaseException as error:  # noqa: BLE001  # it is raised by result()
            result.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        return result.result(seconds)
    except TimeoutError:
        made.end()
        raise


@contextmanager
def attempt() -> Iterator[None]:
    """One attempt of this thread's call. Raises GivenUp after the deadline."""
    made: _Call = _here.call
    made.check()
    try:
        yield
    finally:
        made.let_go()


def opened(connection: socket.socket) -> None:
    """Register a connection of the attempt. Raises GivenUp after the deadline; the connection is closed."""
    made: _Call = _here.call
    made.add(connection)
