"""A Pub/Sub subscription as a source: units are segments that were spooled to the lake.

Pub/Sub has no offsets to come back to, so messages are pulled, put into a file of the lake, acknowledged, and read
from there. A crash between putting and acknowledging makes Pub/Sub deliver them again: the copies are found by their
message_id, and those that nobody can read by the name that Pub/Sub gave them.
"""

import os
import time
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

import grpc
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from google.api_core import exceptions
from google.api_core.retry import Retry, if_exception_type
from google.auth.exceptions import GoogleAuthError
from google.cloud import pubsub_v1
from google.cloud.pubsub_v1.types import PubsubMessage, ReceivedMessage
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from lake.large_payloads import bounded
from lake.ledger import is_committed, read_back
from lake.storage import storage
from messaging.urls import PubSubUrl
from schemas.errors import InputUnusable, LakeDamaged, ServiceUnavailable
from schemas.lake import MICROSECONDS, Source, timestamps
from sources.payloads import payload_batch
from sources.streams.base import Look, PlannedUnit, Planner, Stream, plan_until_now
from sources.streams.segments import NAME, forget, segment_in, segment_of, vouch
from sources.units import Unit

SEGMENT_MESSAGES = 100_000
SEGMENT_BYTES = 64 << 20
SEGMENT_SECONDS = 1.0
"""A segment ends when one of these is reached; it must be acknowledged long before its first message's deadline."""
BATCH_BYTES = 8 << 20
"""Of a segment that are read at once, unless one message is longer."""
PULL_MESSAGES = 1_000
"""What Pub/Sub gives at most for one request."""
PULLS = 4
"""Requests under way at once."""
ACKS = 2_000
"""Acknowledged by one request, which may have 512 KiB."""
PULL_SECONDS = 20.0
"""A request is answered when there is a message, or after this time."""
LOOK_SECONDS = 1.0
QUIET_SECONDS = 2.0
"""So long without a message, and it is asked whether there is none."""
ANSWER_SECONDS = 60.0
PATIENCE_SECONDS = 120
START_SECONDS = 20
"""How long a server may be silent before anything was heard of it."""

_CHECK = "Check the network, GOOGLE_APPLICATION_CREDENTIALS and PUBSUB_EMULATOR_HOST"
_PASSING = (
    exceptions.ServiceUnavailable,
    exceptions.InternalServerError,
    exceptions.Unknown,
    exceptions.Aborted,
    exceptions.Cancelled,  # by the server, when it ends a stream
)
_PULL = Retry(predicate=if_exception_type(*_PASSING), timeout=PATIENCE_SECONDS)
_ACKNOWLEDGE = Retry(predicate=if_exception_type(*_PASSING, exceptions.DeadlineExceeded), timeout=PATIENCE_SECONDS)


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
        Subscription(self.url)  # which tells where there is no server
        spooled = sum(not is_committed(root, unit.source, unit.name) for unit in self.spooled(root))
        return f"{spooled} segments spooled; what waits in {self.path} only a pull can tell"

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

    def tidy(self, root: str) -> None:
        self.without_committed(self.spooled(root), root)

    def spooled(self, root: str) -> list[Unit]:
        """All segments that are in the lake."""
        names = (NAME.fullmatch(info.base_name) for info in storage(root).list(self.spool))
        return [Unit(self.source, self.path, 0, int(name["rows"]), name["unit"]) for name in names if name]

    def without_committed(self, units: list[Unit], root: str) -> list[Unit]:
        """Those that are not committed; the segments of the others are removed."""
        still_open = []
        for unit in units:
            if read_back(root, unit.source, unit.name):
                forget(root, f"{self.spool}/{unit.name}.arrow")
            else:
                still_open.append(unit)
        return still_open


def published_at(messages: list[ReceivedMessage]) -> pa.TimestampArray:
    """When each was published; null where that is no time that the lake takes (:func:`schemas.lake.timestamps`)."""
    times = [PubsubMessage.pb(m.message).publish_time for m in messages]
    seconds = timestamps(np.array([t.seconds for t in times], np.int64), 1)
    # Other nanoseconds are none, and would lead out of the years of the lake.
    micros = [t.nanos // 1000 if 0 <= t.nanos < 1_000_000_000 else None for t in times]
    return pc.add(seconds, pa.array(micros, pa.duration("us")))


class _PubSubPlanner(Planner):
    def __init__(self, stream: PubSubStream, root: str) -> None:
        self._stream = stream
        self._root = root
        self._subscription = Subscription(stream.url)
        self._open: list[Unit] = []
        self._heard = time.monotonic()
        self._until = 0

    def resume(self) -> list[PlannedUnit]:
        self._open = self._stream.without_committed(self._stream.spooled(self._root), self._root)
        return [PlannedUnit(unit, 0) for unit in self._open]

    def outstanding(self) -> int:
        return len(self._open)

    def look(self, room: int) -> Look:
        self._open = self._stream.without_committed(self._open, self._root)
        now = round(time.time() * MICROSECONDS)
        if not room:
            return Look([], self._until, 0)
        messages = self._subscription.pull()
        units = self._spool_all(messages)
        if units:
            self._heard, self._until = time.monotonic(), units[0].since
        elif time.monotonic() - self._heard > QUIET_SECONDS:
            if messages := self._subscription.what_is_there():
                units = self._spool_all(messages)
            else:
                self._until = now
        return Look(units, self._until, 0)

    def close(self) -> None:
        self._subscription.close()

    def _spool_all(self, messages: list[ReceivedMessage]) -> list[PlannedUnit]:
        """In segments of bounded bytes: an answer may hold much more than was to be had."""
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


class Subscription:
    """Pulls and acknowledges."""

    def __init__(self, url: PubSubUrl) -> None:
        self._name = f"pubsub://{url.project}/{url.name}"
        if emulator := os.environ.get("PUBSUB_EMULATOR_HOST"):
            # The client's own channel to an emulator takes no message above 4 MB.
            channel = grpc.insecure_channel(emulator, options=[("grpc.max_receive_message_length", -1)])
            self._client = pubsub_v1.SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))
        else:
            try:
                self._client = pubsub_v1.SubscriberClient()
            except GoogleAuthError as error:
                raise ServiceUnavailable(f"{self._name}: {error} {_CHECK}") from error
        self._path = self._client.subscription_path(url.project, url.name)
        self._pool = ThreadPoolExecutor(PULLS)
        self._at_once = PULL_MESSAGES
        self._asked: set[Future[list[ReceivedMessage]]] = set()
        try:
            grpc.channel_ready_future(self._client.transport.grpc_channel).result(START_SECONDS)
        except grpc.FutureTimeoutError as error:  # a pull would call it an empty subscription
            raise ServiceUnavailable(f"{self._name}: no server answers. {_CHECK}") from error
        self._look()

    def pull(self) -> list[ReceivedMessage]:
        """What is there, up to the size of a segment; nothing if nothing came for a look's time."""
        end = time.monotonic() + LOOK_SECONDS
        found: list[ReceivedMessage] = []
        size = 0
        while len(found) < SEGMENT_MESSAGES and size < SEGMENT_BYTES:
            while len(self._asked) < PULLS:
                self._asked.add(self._pool.submit(self._pull))
            # What is not answered yet stays asked: a request that is cancelled may have taken messages with it.
            answered, self._asked = wait(self._asked, max(end - time.monotonic(), 0), FIRST_COMPLETED)
            some = [message for answer in answered for message in answer.result()]
            if some and not found:
                end = time.monotonic() + SEGMENT_SECONDS
            found += some
            sizes = [len(m.message.data) for m in some]
            size += sum(sizes)
            if some:  # so that few large messages are on their way at once
                self._at_once = max(min(PULL_MESSAGES, SEGMENT_BYTES // PULLS // max(*sizes, 1)), 1)
            if time.monotonic() >= end:
                break
        return found

    def what_is_there(self) -> list[ReceivedMessage]:
        """The answer of a request that waits for no message: a slow server is not taken for an empty subscription."""
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", DeprecationWarning
            )  # for what it costs; it is the only one that does not wait
            question = {"subscription": self._path, "max_messages": PULL_MESSAGES, "return_immediately": True}
            return list(
                self._ask(self._client.pull, _ACKNOWLEDGE, request=question, timeout=ANSWER_SECONDS).received_messages
            )

    def close(self) -> None:
        """Give back what was asked for and not taken."""
        for answer in wait(self._asked, 0).done:
            self._give_back([message.ack_id for message in answer.result()])
        self._client.close()

    def acknowledge(self, ids: list[str]) -> None:
        """Never to be delivered again, if all goes well."""
        for some in batched(ids):
            self._ask(self._client.acknowledge, _ACKNOWLEDGE, subscription=self._path, ack_ids=some)

    def _give_back(self, ids: list[str]) -> None:
        for some in batched(ids):
            arguments = {"subscription": self._path, "ack_ids": some, "ack_deadline_seconds": 0}
            self._ask(self._client.modify_ack_deadline, _ACKNOWLEDGE, **arguments)

    def _look(self) -> None:
        """Whether there is the subscription. Raises InputUnusable, ServiceUnavailable."""
        try:
            self._ask(self._client.get_subscription, _ACKNOWLEDGE, subscription=self._path)
        except ServiceUnavailable as error:
            if not isinstance(error.__cause__, exceptions.PermissionDenied):  # who may pull may not be allowed to look
                raise

    def _pull(self) -> list[ReceivedMessage]:
        try:
            answer = self._ask(
                self._client.pull, _PULL, subscription=self._path, max_messages=self._at_once, timeout=PULL_SECONDS
            )
        except exceptions.DeadlineExceeded:
            return []
        return list(answer.received_messages)

    def _ask(self, question: Callable[..., Any], retry: Retry, **arguments: Any) -> Any:
        try:
            return question(retry=retry, **arguments)
        except exceptions.NotFound as error:
            raise InputUnusable(
                f"{self._name}: there is no such subscription; check the name, or make it with prestacop topics"
            ) from error
        except exceptions.DeadlineExceeded:
            raise
        except (exceptions.GoogleAPICallError, exceptions.RetryError) as error:
            raise ServiceUnavailable(f"{self._name}: {error}. {_CHECK}") from error


def batched(ids: list[str]) -> Iterator[list[str]]:
    """As many as one request takes."""
    for start in range(0, len(ids), ACKS):
        yield ids[start : start + ACKS]
