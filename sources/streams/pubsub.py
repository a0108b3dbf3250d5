"""A Pub/Sub subscription as a source: units are segments that were spooled to the lake.

Pub/Sub has no offsets to resume from, so messages are pulled, written to a file of the lake, acknowledged, and read
from there. A crash between writing and acknowledging causes redelivery: duplicates are found by their message_id, and
those of dead letters by the id that Pub/Sub gave them.
"""

import time
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from google.pubsub_v1 import PubsubMessage, ReceivedMessage

from lake.large_payloads import bounded
from lake.ledger import is_committed, read_back
from lake.storage import storage
from messaging.pubsub import Subscriber
from messaging.retry import PATIENCE_SECONDS, START_SECONDS, Patience
from messaging.urls import PubSubUrl
from schemas.errors import LakeDamaged
from schemas.lake import MICROSECONDS, Source, timestamps
from sources.payloads import payload_batch
from sources.streams.base import PlannedUnit, Planner, Polled, Stream, plan_until_now
from sources.streams.segments import NAME, forget, segment_in, segment_of, tidy, vouch
from sources.units import Unit

SEGMENT_MESSAGES = 100_000
SEGMENT_BYTES = 64 << 20
SEGMENT_SECONDS = 1.0
"""A segment ends when one of these is reached; it must be acknowledged long before its first message's deadline."""
BATCH_BYTES = 8 << 20
"""Bytes of a segment that are read at once, unless one message is longer."""
PULL_MESSAGES = 1_000
"""Pub/Sub returns at most so many messages for one request."""
PULLS = 4
"""Requests under way at once."""
PULL_SECONDS = 20.0
"""A request is answered when there is a message, or after this time."""
POLL_SECONDS = 1.0
QUIET_SECONDS = 2.0
"""After so long without a message a request that does not wait shows whether the subscription is empty."""


class PubSubStream(Stream):
    """A subscription."""

    def __init__(self, url: PubSubUrl, source: Source) -> None:
        self.url = url
        self.source = source

    @property
    def path(self) -> str:
        return f"pubsub://{self.url.project}/{self.url.name}"

    @property
    def spool(self) -> str:
        """Where its segments are, below the lake's root."""
        return f"spool/{self.source}-pubsub-{self.url.project.replace(':', '.')}-{self.url.name}"

    def planner(self, root: str) -> Planner:
        return _PubSubPlanner(self, root)

    def waiting(self, root: str) -> str:
        Subscription(self.url)  # raises where there is no server
        spooled = sum(not is_committed(root, unit.source, unit.name) for unit in self.spooled(root))
        return f"{spooled} segments spooled; how many messages wait in {self.path} only a pull would show"

    def everything(self, root: str) -> list[Unit]:
        plan_until_now(self, root)  # which spools what waits
        return self.spooled(root)

    def payloads(self, unit: Unit, root: str) -> Iterator[pa.RecordBatch]:
        name = f"{unit.name}.arrow"
        data = storage(root).read(f"{self.spool}/{name}")
        try:
            for batch in segment_in(data, name):
                for start, end in bounded(pc.binary_length(batch["payload"]).to_numpy().astype(np.int64), BATCH_BYTES):
                    yield batch.slice(start, end - start)
        except ValueError as error:
            raise LakeDamaged(
                f"{root}/{self.spool}/{name} is not what was spooled ({error}): put it back from a copy, and run again"
            ) from error

    def forget(self, units: Iterable[Unit], root: str) -> None:
        for unit in units:
            forget(root, f"{self.spool}/{unit.name}.arrow")

    def finish(self, root: str) -> None:
        tidy(root, self.spool)

    def spooled(self, root: str) -> list[Unit]:
        """All segments that are in the spool."""
        names = (NAME.fullmatch(info.base_name) for info in storage(root).list(self.spool))
        return [Unit(self.source, self.path, 0, int(name["rows"]), name["unit"]) for name in names if name]

    def without_committed(self, units: list[Unit], root: str) -> list[Unit]:
        """The uncommitted units; the segments of the others are deleted."""
        still_open = []
        for unit in units:
            if read_back(root, unit.source, unit.name):
                forget(root, f"{self.spool}/{unit.name}.arrow")
            else:
                still_open.append(unit)
        return still_open


def published_at(messages: list[ReceivedMessage]) -> pa.TimestampArray:
    """When each was published; null where the lake cannot store that time (:func:`schemas.lake.timestamps`)."""
    times = [PubsubMessage.pb(m.message).publish_time for m in messages]
    seconds = timestamps(np.array([t.seconds for t in times], np.int64), 1)
    # Nanoseconds outside of a second are invalid, and could lead out of the years that the lake stores.
    micros = [t.nanos // 1000 if 0 <= t.nanos < 1_000_000_000 else None for t in times]
    return pc.add(seconds, pa.array(micros, pa.duration("us")))


class _PubSubPlanner(Planner):
    def __init__(self, stream: PubSubStream, root: str) -> None:
        self._stream = stream
        self._root = root
        self._subscription = Subscription(stream.url)
        self._open: list[Unit] = []
        self._last_message = time.monotonic()
        self._until = 0

    def resume(self) -> list[PlannedUnit]:
        tidy(self._root, self._stream.spool)
        self._open = self._stream.spooled(self._root)
        return [PlannedUnit(unit, 0) for unit in self._open]

    def outstanding(self) -> int:
        return len(self._open)

    def poll(self, room: int) -> Polled:
        self._open = self._stream.without_committed(self._open, self._root)
        now = round(time.time() * MICROSECONDS)
        if not room:
            return Polled([], self._until, 0)
        messages = self._subscription.pull_segment()
        units = self._spool_all(messages)
        if units:
            self._last_message, self._until = time.monotonic(), units[0].since
        elif time.monotonic() - self._last_message > QUIET_SECONDS:
            if messages := self._subscription.pull_now(PULL_MESSAGES):
                units = self._spool_all(messages)
            else:
                self._until = now
        return Polled(units, self._until, 0)

    def close(self) -> None:
        self._subscription.close()

    def _spool_all(self, messages: list[ReceivedMessage]) -> list[PlannedUnit]:
        """In segments of bounded bytes: the answers may hold much more than one segment."""
        sizes = np.fromiter((len(m.message.data) for m in messages), np.int64, len(messages))
        return [self._spool(messages[start:end]) for start, end in bounded(sizes, SEGMENT_BYTES)]

    def _spool(self, messages: list[ReceivedMessage]) -> PlannedUnit:
        n = len(messages)
        published = published_at(messages)
        name = f"{self._stream.spool.removeprefix('spool/')}-{time.time_ns():020d}-{uuid.uuid4().hex[:12]}-{n}"
        rows = payload_batch(
            [m.message.data for m in messages], range(n), range(n), published, [m.message.message_id for m in messages]
        )
        store = storage(self._root)
        file = f"{name}.arrow"
        path = f"{self._stream.spool}/{file}"
        store.put(path, segment_of(rows, file))
        store.flush()
        vouch(self._root, path)
        self._subscription.acknowledge([m.ack_id for m in messages])
        unit = Unit(self._stream.source, self._stream.path, 0, n, name)
        self._open.append(unit)
        first = pc.min(published).value
        return PlannedUnit(unit, round(time.time() * MICROSECONDS) if first is None else first)


class Subscription(Subscriber):
    """Pulls segments, with several requests under way."""

    def __init__(self, url: PubSubUrl) -> None:
        """Raises InputUnusable (no such subscription), NotPermitted, ServiceUnavailable."""
        super().__init__(url, Patience(PATIENCE_SECONDS, answered=True))
        self._pool = ThreadPoolExecutor(PULLS)
        self._at_once = PULL_MESSAGES
        self._under_way: set[Future[list[ReceivedMessage]]] = set()
        self.find(START_SECONDS)

    def pull_segment(self) -> list[ReceivedMessage]:
        """What is there, up to the size of a segment; nothing if nothing came for POLL_SECONDS."""
        end = time.monotonic() + POLL_SECONDS
        found: list[ReceivedMessage] = []
        size = 0
        while len(found) < SEGMENT_MESSAGES and size < SEGMENT_BYTES:
            while len(self._under_way) < PULLS:
                self._under_way.add(self._pool.submit(self.pull, self._at_once, PULL_SECONDS))
            # A request without an answer stays under way: one that is cancelled may have taken messages with it.
            answered, self._under_way = wait(self._under_way, max(end - time.monotonic(), 0), FIRST_COMPLETED)
            some = [message for answer in answered for message in answer.result()]
            if some and not found:
                end = time.monotonic() + SEGMENT_SECONDS
            found += some
            sizes = [len(m.message.data) for m in some]
            size += sum(sizes)
            if some:  # so that few large messages are under way at once
                self._at_once = max(min(PULL_MESSAGES, SEGMENT_BYTES // PULLS // max(*sizes, 1)), 1)
            if time.monotonic() >= end:
                break
        return found

    def close(self) -> None:
        """Release what was pulled and is in no segment."""
        for answer in wait(self._under_way, 0).done:
            self.release([message.ack_id for message in answer.result()])
        super().close()
