"""Something that is done every few moments beside something else."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def every(seconds: float, do: Callable[[], object], is_awaited: bool = True) -> Iterator[None]:
    """Call ``do`` at once and then every ``seconds``, in a thread, while the body runs.

    Args:
        do: raises nothing.
        is_awaited: at the end of the body, wait for a call that is under way.
    """
    done = threading.Event()

    def repeat() -> None:
        do()
        while not done.wait(seconds):
            do()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        if is_awaited:
            thread.join()
