"""A call to somebody else's server that ends in time, however slowly that server sends its bytes."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import TypeVar

T = TypeVar("T")


class GivenUp(Exception):
    """The time of a call is over, and nobody waits for it any more: it ends, and is not tried again."""


class _Call:
    """The connections of a call, by files of their own: what their owner does to his, as to wrap it for TLS or to read
    from it for ever, is no hindrance to ending them."""

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
    """What the call gives, or raises. A timeout of sockets counts anew with each byte; this one does not.

    Args:
        call: makes each of its attempts in :func:`attempt`, and names its connections to :func:`opened`.

    Raises:
        TimeoutError: it takes longer. Its connections are ended, and it ends in a thread of its own.
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
    """One attempt of the call that this thread makes. Raises GivenUp: its time is over."""
    made: _Call = _here.call
    made.check()
    try:
        yield
    finally:
        made.let_go()


def opened(connection: socket.socket) -> None:
    """The attempt uses this connection. Raises GivenUp: it is closed."""
    made: _Call = _here.call
    made.add(connection)
