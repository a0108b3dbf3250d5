"""Google Cloud Pub/Sub: what its errors mean, one publisher, and one subscriber that pulls and acknowledges.

The clients connect to ``PUBSUB_EMULATOR_HOST`` where that is set.
"""

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final, Literal, TypeVar

import grpc
from google.api_core import exceptions
from google.api_core.retry import if_exception_type
from google.auth.exceptions import GoogleAuthError
from google.pubsub_v1 import PublisherClient, PublishRequest, PubsubMessage, ReceivedMessage, SubscriberClient
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from messaging.errors import DENIED, OUTAGE, REFUSED, TOO_LARGE, UNKNOWN, Condition
from messaging.retry import Patience
from messaging.urls import PubSubUrl
from schemas.errors import PrestaCopError, ServiceUnavailable

T = TypeVar("T")

PASSES: Final = if_exception_type(
    exceptions.Aborted,
    exceptions.Cancelled,
    exceptions.DeadlineExceeded,
    exceptions.InternalServerError,
    exceptions.ResourceExhausted,
    exceptions.RetryError,
    exceptions.ServiceUnavailable,
    exceptions.Unknown,
)
"""Whether an error is retried."""
ERRORS: Final = (exceptions.GoogleAPIError, GoogleAuthError)
REQUEST_SECONDS: Final = 60.0
_REQUEST_MESSAGES: Final = 1_000
_REQUEST_BYTES: Final = 4_000_000
_MAX_BYTES: Final = 10_000_000 - 1_000
"""What Pub/Sub takes in one request, without the names around a message."""
_ACKNOWLEDGED: Final = 2_000
"""In one request, which may have 512 KiB."""
# The classes around these cost ten times as much a message.
_Request: Final[Any] = PublishRequest.pb()
_Message: Final[Any] = PubsubMessage.pb()


class Connection:
    """A topic or subscription by name, and what errors of requests for it mean."""

    def __init__(self, url: PubSubUrl, kind: Literal["topics", "subscriptions"]) -> None:
        self.url = url
        self.kind = kind
        self.name = f"pubsub://{url.project}/{url.name}".rstrip("/")
        self.path = f"projects/{url.project}/{kind}/{url.name}"

    def open(self, client: Callable[[], T]) -> T:
        """A client. Raises NotPermitted (no credentials), ServiceUnavailable."""
        with self.errors():
            return client()

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Requests in the body raise the project's errors."""
        try:
            yield
        except ERRORS as error:
            raise self.error(error) from error

    def error(self, error: Exception) -> PrestaCopError:
        """The project's error for one of Google's."""
        condition = _condition(error)
        if condition is UNKNOWN:
            what = f"{self.name}: there is no {self.kind[:-1]} {self.url.name}"
        elif condition is OUTAGE:
            what = self._outage(error)
        else:
            what = f"{self.name}: {error}"
        hint = condition.pubsub.format(kind=self.kind, **self.url._asdict())
        return condition.error(f"{what}. {hint}")

    def reason(self, error: Exception) -> str | PrestaCopError:
        """For :meth:`messaging.retry.Patience.attempt`."""
        if not isinstance(error, ERRORS):
            raise error
        return self._outage(error) if _condition(error) is OUTAGE else self.error(error)

    def _outage(self, error: Exception) -> str:
        return f"{self.name} does not answer ({error})"


def _condition(error: Exception) -> Condition:
    if isinstance(error, exceptions.NotFound):
        return UNKNOWN
    if isinstance(error, exceptions.PermissionDenied | exceptions.Unauthenticated):
        return DENIED
    if isinstance(error, GoogleAuthError):
        return OUTAGE if error.retryable else DENIED
    if isinstance(error, exceptions.ClientError) and not PASSES(error):
        return REFUSED
    return OUTAGE


def message(data: bytes, **attributes: str) -> Any:
    """A message to publish; it may not be entirely empty."""
    return _Message(data=data, attributes=attributes)


class Publisher:
    """Publishes to one topic. A message may arrive twice: a request whose answer was lost is made again.

    It makes the requests itself. The batches of ``google.cloud.pubsub_v1`` cost a future, two locks and five objects a
    message: with them it is 25,000 messages a second instead of 300,000.

    Args:
        patience: how long one request is repeated.
        seconds: how long one attempt may take.
    """

    def __init__(self, url: PubSubUrl, patience: Patience, seconds: float = REQUEST_SECONDS) -> None:
        """Raises NotPermitted (no credentials)."""
        self.connection = Connection(url, "topics")
        self._patience = patience
        self._seconds = seconds
        self._client: Any = self.connection.open(PublisherClient)

    def find(self, patience: Patience) -> None:
        """Whether there is the topic. Raises TopicUnusable, NotPermitted, ServiceUnavailable."""
        topic = self.connection.path

        def find() -> None:
            with suppress(exceptions.PermissionDenied):  # the right to publish does not include the right to describe
                self._client.get_topic(topic=topic, retry=None, timeout=self._seconds)

        patience.attempt(find, self.connection.reason)

    def requests(self, messages: Iterable[Any]) -> Iterator[list[Any]]:
        """Messages for one request each. Raises TopicUnusable for one that is larger than a request may be."""
        batch: list[Any] = []
        size = 0
        for each in messages:
            length = len(each.data)
            if length > _MAX_BYTES:
                raise TOO_LARGE.error(f"{self.connection.name}: a message has {length:,} bytes. {TOO_LARGE.pubsub}")
            if batch and (len(batch) == _REQUEST_MESSAGES or size + length > _REQUEST_BYTES):
                yield batch
                batch, size = [], 0
            batch.append(each)
            size += length
        if batch:
            yield batch

    def publish(self, messages: Iterable[Any]) -> None:
        """Return when the service has all messages. Raises TopicUnusable, NotPermitted, ServiceUnavailable."""
        for batch in self.requests(messages):
            request = _Request(topic=self.connection.path, messages=batch)
            publish = partial(self._client.publish, request, retry=None, timeout=self._seconds)
            self._patience.attempt(publish, self.connection.reason)

    def close(self) -> None:
        """Close the connection."""
        self._client.transport.close()


class Subscriber:
    """Pulls from one subscription; what is not acknowledged is delivered again.

    Args:
        patience: how long one request is repeated.
    """

    def __init__(self, url: PubSubUrl, patience: Patience) -> None:
        """Raises NotPermitted (no credentials)."""
        self.connection = Connection(url, "subscriptions")
        self._patience = patience
        if emulator := os.environ.get("PUBSUB_EMULATOR_HOST"):
            # The client's own channel to an emulator takes no message above 4 MB.
            channel = grpc.insecure_channel(emulator, options=[("grpc.max_receive_message_length", -1)])
            self._client: Any = SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))
        else:
            self._client = self.connection.open(SubscriberClient)

    def find(self, seconds: float) -> None:
        """Whether there is the subscription. Raises TopicUnusable, NotPermitted, ServiceUnavailable.

        Args:
            seconds: for a server that answers at all.
        """
        try:  # a pull would take a server that does not answer for an empty subscription
            grpc.channel_ready_future(self._client.transport.grpc_channel).result(seconds)
        except grpc.FutureTimeoutError as error:
            raise ServiceUnavailable(f"{self.connection.name} does not answer. {OUTAGE.pubsub}") from error

        def find() -> None:
            with suppress(exceptions.PermissionDenied):  # the right to pull does not include the right to describe
                self._client.get_subscription(subscription=self.connection.path, retry=None, timeout=REQUEST_SECONDS)

        self._patience.attempt(find, self.connection.reason)

    def pull(self, at_once: int, seconds: float) -> list[ReceivedMessage]:
        """Up to so many messages; none if none came for so long. Raises as :meth:`find` does."""

        def pull() -> list[ReceivedMessage]:
            try:
                answer = self._client.pull(
                    subscription=self.connection.path, max_messages=at_once, timeout=seconds, retry=None
                )
            except exceptions.DeadlineExceeded:
                return []
            return list(answer.received_messages)

        return self._patience.attempt(pull, self.connection.reason)

    def pull_now(self, at_once: int) -> list[ReceivedMessage]:
        """What is there, without waiting for messages: a slow server is not taken for an empty subscription."""
        request = {"subscription": self.connection.path, "max_messages": at_once, "return_immediately": True}
        with warnings.catch_warnings():
            # It is deprecated for what it costs, and the only request that does not wait.
            warnings.simplefilter("ignore", DeprecationWarning)
            return list(self._repeat(self._client.pull, request=request).received_messages)

    def acknowledge(self, ids: Sequence[str]) -> None:
        """Messages that are not to be delivered again. Raises as :meth:`find` does."""
        for some in batched(ids):
            self._repeat(self._client.acknowledge, subscription=self.connection.path, ack_ids=some)

    def release(self, ids: Sequence[str]) -> None:
        """Messages that are to be delivered again at once. Raises as :meth:`find` does."""
        for some in batched(ids):
            arguments = {"subscription": self.connection.path, "ack_ids": some, "ack_deadline_seconds": 0}
            self._repeat(self._client.modify_ack_deadline, **arguments)

    def close(self) -> None:
        """Close the connection."""
        self._client.transport.close()

    def _repeat(self, method: Callable[..., Any], **arguments: Any) -> Any:
        return self._patience.attempt(
            lambda: method(retry=None, timeout=REQUEST_SECONDS, **arguments), self.connection.reason
        )


def batched(ids: Sequence[str]) -> Iterator[list[str]]:
    """As many as one request takes."""
    for start in range(0, len(ids), _ACKNOWLEDGED):
        yield list(ids[start : start + _ACKNOWLEDGED])
