"""A live fleet publishes each message when it is due, in order, and stops on request."""

import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from apps.simulator.fleet.flight import Flight, fly
from apps.simulator.fleet.images import Picture
from apps.simulator.fleet.live import paced
from apps.simulator.fleet.mishaps import Mishaps, Published, Step, publish
from apps.simulator.interrupt import Stop, graceful_stop

FLIGHT = Flight(drones=40, seconds=0.5, rate=10, seed=1, start=None)


def now_us() -> int:
    return time.time_ns() // 1000


def step(*delays_ms: int, pictures: tuple[int, ...] = ()) -> Step:
    """Messages and pictures that are due so many milliseconds from now."""
    now = now_us()
    return Step(
        [Published(now + 1000 * delay, b"%d" % delay, "drone", None, "dead_letters", 1.0) for delay in delays_ms],
        [Picture(now + 1000 * delay, f"img-{delay}", "", False, "", "") for delay in pictures],
    )


def test_messages_are_given_when_they_are_due() -> None:
    messages, pictures = [], []
    for due, shown, _ in paced(iter([step(-50, 0, 100, 101), step(200, 500, pictures=(150, 300))]), Stop()):
        now = now_us()
        assert all(item.at_us <= now for item in due)
        assert all(item.at_us <= now for item in shown)
        messages += [int(message.payload) for message in due]
        pictures += [picture.image_id for picture in shown]
    assert messages == [-50, 0, 100, 101, 200, 500]
    assert pictures == ["img-150", "img-300"]


def test_empty_steps_are_given_while_nothing_is_due() -> None:
    beats = list(paced(iter([step(550)]), Stop()))
    assert 2 <= len(beats) <= 8
    assert [len(due) for due, *_ in beats] == [0] * (len(beats) - 1) + [1]


def test_overdue_messages_are_given_at_once_and_together() -> None:
    late = step(*range(-5000, 0))
    assert [due for due, *_ in paced(iter([late]), Stop())] == [late.messages]


def test_it_ends_when_a_stop_is_requested() -> None:
    stop = Stop()

    def steps() -> Iterator[Step]:
        while True:
            yield step(0, 10_000)

    came = []
    for due, *_ in paced(steps(), stop):
        came += due
        stop.requested = True
    assert len(came) == 1


def test_a_live_fleet_takes_off_now_and_its_blocks_are_short() -> None:
    before = datetime.now(UTC)
    blocks = list(fly(FLIGHT, block_s=0.1))
    starts = [datetime.fromtimestamp(block.event_us[0] / 1e6, UTC) for block in blocks]
    assert before <= starts[0] < before + timedelta(seconds=2)
    assert len(blocks) == 5
    assert {len(block.payloads) for block in blocks} == {40}
    assert all(block.event_us[-1] < block.until_us for block in blocks)
    # The same again a moment later is another flight.
    assert not {name for block in blocks for name in block.ids} & {name for block in fly(FLIGHT) for name in block.ids}


def test_a_flight_may_be_endless() -> None:
    steps = publish(Flight(drones=2_000, seconds=float("inf"), rate=1, seed=1, start=None), Mishaps())
    assert sum(len(next(steps).messages) for _ in range(3)) == 60_000


def test_the_first_ctrl_c_requests_a_stop_and_the_second_interrupts() -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with graceful_stop() as stop:
        assert not stop.requested
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    with graceful_stop() as stop:
        assert not stop.requested
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
