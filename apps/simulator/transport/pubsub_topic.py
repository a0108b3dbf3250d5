"""A Google Cloud Pub/Sub topic to publish to; the client goes to ``PUBSUB_EMULATOR_HOST`` where that is set."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

from google.api_core import exceptions
from google.api_core.retry import Retry
from google.auth.exceptions import GoogleAuthError
from google.pubsub_v1 import PublisherClient, PublishRequest, PubsubMessage

from apps.simulator.transport.sinks import Sink, TopicUnusable
from messaging.pubsub import PASSES
from messaging.urls import PubSubUrl
from schemas.errors import PrestaCopError, ServiceUnavailable

_REQUEST_MESSAGES: Final = 1_000
_REQUEST_BYTES: Final = 4_000_000
_REQUESTS: Final = 4
"""How many requests are under way at once; one more, and write() waits."""
_MAX_BYTES: Final = 10_000_000 - 1_000
"""What Pub/Sub takes in one request, without the names around a message."""
_START_S: Final = 10.0
_TIMEOUT_S: Final = 60.0
"""The service may be away for this long, and nothing is lost."""
# The classes around these cost ten times as much a message.
_Request: Final[Any] = PublishRequest.pb()
_Message: Final[Any] = PubsubMessage.pb()


class PubSubTopic(Sink):
    """Publishes payloads as they are, with the key as attribute ``key``: a message may not be entirely empty.

    It makes the requests itself. The batches of ``google.cloud.pubsub_v1`` cost a future, two locks and five objects a
    message: with them it is 25,000 messages a second instead of 300,000.
    """

    def __init__(self, url: PubSubUrl) -> None:
        """Find the topic. Raises TopicUnusable, ServiceUnavailable."""
        self._url = url
        self._topic = f"projects/{url.project}/topics/{url.name}"
        self._waiting = 0
        self._requests: deque[tuple[Future[None], int]] = deque()
        try:
            self._client = PublisherClient()
        except GoogleAuthError as error:
            raise ServiceUnavailable(f"Pub/Sub: {error} An emulator's address is PUBSUB_EMULATOR_HOST.") from error
        self._find()
        self._threads = ThreadPoolExecutor(_REQUESTS, thread_name_prefix="publish")

    def write(self, payloads: Sequence[bytes], keys: Sequence[str]) -> None:
        """Publish ``payloads``; waits where too many requests are under way."""
        for messages in self._batches(payloads, keys):
            while len(self._requests) >= _REQUESTS:
                self._take()
            self._requests.append((self._threads.submit(self._publish, messages), len(messages)))
            self._waiting += len(messages)

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
        """Let go of requests that are not sent yet."""
        self._threads.shutdown(cancel_futures=True)
        self._client.transport.close()

    def _find(self) -> None:
        try:
            self._client.get_topic(topic=self._topic, retry=Retry(PASSES, timeout=_START_S), timeout=_START_S)
        except exceptions.PermissionDenied:
            # Whoever may publish to a topic may not always look at it.
            pass
        except (exceptions.GoogleAPIError, GoogleAuthError) as error:
            self._client.transport.close()
            raise self._error(error) from error

    def _batches(self, payloads: Sequence[bytes], keys: Sequence[str]) -> Iterator[list[Any]]:
        """Messages for one request each."""
        batch: list[Any] = []
        size = 0
        for payload, key in zip(payloads, keys, strict=True):
            if len(payload) > _MAX_BYTES:
                raise TopicUnusable(
                    f"Pub/Sub takes no message larger than 10 MB: one for {self._url.name} has {len(payload):,} bytes "
                    "(an image is a third larger there than its picture)"
                )
            if batch and (len(batch) == _REQUEST_MESSAGES or size + len(payload) > _REQUEST_BYTES):
                yield batch
                batch, size = [], 0
            batch.append(_Message(data=payload, attributes={"key": key}))
            size += len(payload)
        if batch:
            yield batch

    def _publish(self, messages: list[Any]) -> None:
        """One request, made again for a minute if it fails in a way that passes."""
        request = _Request(topic=self._topic, messages=messages)
        self._client.publish(request, retry=Retry(PASSES, maximum=5, timeout=_TIMEOUT_S), timeout=_TIMEOUT_S)

    def _take(self) -> None:
        """Wait for the answer to the oldest request."""
        request, count = self._requests.popleft()
        try:
            request.result()
        except (exceptions.GoogleAPIError, GoogleAuthError) as error:
            raise self._error(error) from error
        self._waiting -= count

    def _error(self, error: exceptions.GoogleAPIError | GoogleAuthError) -> PrestaCopError:
        project, name = self._url
        if isinstance(error, exceptions.NotFound):
            return TopicUnusable(
                f"there is no topic {name} in project {project}. Create it: "
                f"gcloud pubsub topics create {name} --project {project}"
            )
        if isinstance(error, exceptions.ClientError) and not PASSES(error):
            return TopicUnusable(f"topic {name} in project {project} takes no messages: {error}")
        lost = f"; {self._waiting:,} messages are not acknowledged" if self._waiting else ""
        return ServiceUnavailable(f"Pub/Sub does not answer for topic {name} in project {project}: {error}{lost}")
