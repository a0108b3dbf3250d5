"""Google Cloud Pub/Sub: a topic to publish to, and a subscription to read commands from."""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from apps.simulator.transport.command_reader import CommandReader
from apps.simulator.transport.sink import Sink
from messaging.pubsub import Publisher, Subscriber, message
from messaging.retry import Patience
from messaging.urls import PubSubUrl
from schemas.errors import ServiceUnavailable

_REQUESTS: Final = 4
"""How many requests are under way at once; one more, and write() waits."""
_START_S: Final = 10.0
_AWAY_S: Final = 60.0
"""The service may be away for this long, and nothing is lost."""
_AT_ONCE: Final = 1_000
_PULL_S: Final = 1.0
"""How long one request waits for a command."""


class PubSubSink(Sink):
    """Publishes payloads as they are, with the key as attribute ``key``: a message may not be entirely empty."""

    def __init__(self, url: PubSubUrl) -> None:
        """Find the topic. Raises TopicUnusable, NotPermitted, ServiceUnavailable."""
        self._waiting = 0
        self._requests: deque[tuple[Future[None], int]] = deque()
        self._publisher = Publisher(url, Patience(_AWAY_S, answered=True, longest_nap=5.0))
        try:
            self._publisher.find(Patience(_START_S))
        except BaseException:
            self._publisher.close()
            raise
        self._threads = ThreadPoolExecutor(_REQUESTS, thread_name_prefix="publish")

    def write(self, payloads: Sequence[bytes], keys: Sequence[str]) -> None:
        """Publish ``payloads``; waits where too many requests are under way."""
        messages = (message(payload, key=key) for payload, key in zip(payloads, keys, strict=True))
        for batch in self._publisher.requests(messages):
            while len(self._requests) >= _REQUESTS:
                self._take()
            self._requests.append((self._threads.submit(self._publisher.publish, batch), len(batch)))
            self._waiting += len(batch)

    def waiting(self) -> int:
        """How many messages are in requests that are not answered."""
        while self._requests and self._requests[0][0].done():
            self._take()
        return self._waiting

    def finish(self) -> None:
        """Wait for the answer to every request."""
        while self._requests:
            self._take()

    def close(self) -> None:
        """Give up requests that are not sent yet."""
        self._threads.shutdown(cancel_futures=True)
        self._publisher.close()

    def _take(self) -> None:
        """Wait for the answer to the oldest request."""
        request, count = self._requests.popleft()
        try:
            request.result()
        except ServiceUnavailable as error:
            raise ServiceUnavailable(f"{error}; {self._waiting:,} messages are not acknowledged") from error
        self._waiting -= count


class PubSubCommands(CommandReader):
    """Pulls in a thread of its own: a request waits for what comes."""

    def __init__(self, url: PubSubUrl, confirmations: Sink | None) -> None:
        """Find the subscription. Raises TopicUnusable, NotPermitted, ServiceUnavailable."""
        super().__init__(confirmations)
        self._patience = Patience(_AWAY_S, answered=True)
        self._subscriber = Subscriber(url, Patience(0))
        self._subscriber.find(_START_S)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="commands")
        self._coming: Future[list[bytes]] = self._thread.submit(self._pull)

    def _payloads(self) -> Sequence[bytes]:
        if not self._coming.done():
            return []
        try:
            found = self._coming.result()
        except ServiceUnavailable:
            if self._patience.is_over:
                raise
            found = []
        else:
            self._patience.heard()
        self._coming = self._thread.submit(self._pull)
        return found

    def _pull(self) -> list[bytes]:
        received = self._subscriber.pull(_AT_ONCE, _PULL_S)
        self._subscriber.acknowledge([message.ack_id for message in received])
        return [message.message.data for message in received]

    def close(self) -> None:
        """Wait for the request under way, and end."""
        self._thread.shutdown()
        self._subscriber.close()
