"""A call to somebody else's server that ends in time, however slowly that server sends its bytes."""

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


def within(seconds: float, call: Callable[[], T]) -> T:
    """What the call gives, or raises. A timeout of sockets counts anew with each byte; this one does not.

    Raises:
        TimeoutError: it takes longer. It goes on in a daemon thread: close its connection.
    """
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(call())
        except BaseException as error:  # noqa: BLE001  # it is raised by result()
            result.set_exception(error)

    Thread(target=run, daemon=True).start()
    return result.result(seconds)
