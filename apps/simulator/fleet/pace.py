"""A live fleet: what it publishes, when the wall clock says so."""

import time
from bisect import bisect_right
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from operator import attrgetter
from typing import Final

from apps.simulator.fleet.mishaps import Step
from apps.simulator.interrupt import Stop

BLOCK_S: Final = 0.25
"""How long the blocks of a live flight are: each is made while the one before is published."""

_NAP_US: Final = 10_000
"""What is due within this time is published together."""
_LONGEST_NAP_S: Final = 0.1
_SECOND_US: Final = 1_000_000
_AT: Final = attrgetter("at_us")


def as_it_comes(steps: Iterator[Step], stop: Stop) -> Iterator[Step]:
    """Give what is due, often nothing, until everything was or ``stop`` is asked for.

    It never leaves anything out: where the caller takes long, the next step has what became due meanwhile.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="fly") as thread:
        coming = thread.submit(next, steps, None)
        while (step := coming.result()) is not None and not stop.asked:
            coming = thread.submit(next, steps, None)
            yield from _due(step, stop)


def _due(step: Step, stop: Stop) -> Iterator[Step]:
    messages, pictures = step
    said = shown = 0
    earliest_us = 0
    while (said < len(messages) or shown < len(pictures)) and not stop.asked:
        coming = [message.at_us for message in messages[said : said + 1]]
        coming += [picture.at_us for picture in pictures[shown : shown + 1]]
        wait_us = max(min(coming), earliest_us) - _now_us()
        if wait_us > 0:
            time.sleep(min(wait_us / _SECOND_US, _LONGEST_NAP_S))
        now_us = _now_us()
        earliest_us = now_us + _NAP_US
        said_before, shown_before = said, shown
        said = bisect_right(messages, now_us, said, key=_AT)
        shown = bisect_right(pictures, now_us, shown, key=_AT)
        yield Step(messages[said_before:said], pictures[shown_before:shown])


def _now_us() -> int:
    return time.time_ns() // 1_000
