"""A live fleet publishes each message when it is due by the wall clock."""

import time
from bisect import bisect_right
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from operator import attrgetter
from typing import Final

from apps.simulator.fleet.mishaps import Step
from apps.simulator.interrupt import Stop

BLOCK_S: Final = 0.25
"""Length of the blocks of a live flight: each is made while the one before is published."""

_NAP_US: Final = 10_000
"""Messages that are due within this time are published together."""
_LONGEST_NAP_S: Final = 0.1
_SECOND_US: Final = 1_000_000
_AT: Final = attrgetter("at_us")


def paced(steps: Iterator[Step], stop: Stop) -> Iterator[Step]:
    """Give the messages that are due, often none, until all were or a stop is requested.

    None is left out: where the caller is slow, the next step has all that became due meanwhile.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="fly") as thread:
        coming = thread.submit(next, steps, None)
        while (step := coming.result()) is not None and not stop.requested:
            coming = thread.submit(next, steps, None)
            yield from _due(step, stop)


def _due(step: Step, stop: Stop) -> Iterator[Step]:
    messages, pictures, faults = step
    sent = sent_pictures = 0
    earliest_us = 0
    while (sent < len(messages) or sent_pictures < len(pictures)) and not stop.requested:
        coming = [message.at_us for message in messages[sent : sent + 1]]
        coming += [picture.at_us for picture in pictures[sent_pictures : sent_pictures + 1]]
        wait_us = max(min(coming), earliest_us) - _now_us()
        if wait_us > 0:
            time.sleep(min(wait_us / _SECOND_US, _LONGEST_NAP_S))
        now_us = _now_us()
        earliest_us = now_us + _NAP_US
        before, pictures_before = sent, sent_pictures
        sent = bisect_right(messages, now_us, sent, key=_AT)
        sent_pictures = bisect_right(pictures, now_us, sent_pictures, key=_AT)
        yield Step(messages[before:sent], pictures[pictures_before:sent_pictures], faults)


def _now_us() -> int:
    return time.time_ns() // 1_000
