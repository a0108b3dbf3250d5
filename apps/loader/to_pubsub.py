"""To a Google Cloud Pub/Sub topic: messages of whole records; the client goes to ``PUBSUB_EMULATOR_HOST`` where that is
set."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import IO, Any, Final

from google.api_core import exceptions
from google.auth.exceptions import GoogleAuthError
from google.pubsub_v1 import PublisherClient

from messaging.urls import PubSubUrl
from schemas.errors import InputUnusable, NotPermitted, OutputUnusable, PrestaCopError
from schemas.loaded import encode

from .pieces import Place, pieces
from .source import SourceFile
from .target import Patience, Target

_REQUEST_BYTES: Final = 1 << 20
"""Published at once: an answer takes as long for one message as for eight."""
_TIMEOUT_S: Final = 30.0
_DENIED: Final = (exceptions.PermissionDenied, exceptions.Unauthenticated, GoogleAuthError)
_PASSING: Final = (exceptions.ServerError, exceptions.TooManyRequests, exceptions.Aborted, exceptions.Cancelled)


class ToPubSub(Target):
    """A topic. A message may come twice or out of order: readers know it by the file's fingerprint and its offset."""

    text = True

    def __init__(self, url: PubSubUrl, rows: int, patience: Patience) -> None:
        self._url = url
        self._name = f"pubsub://{url.project}/{url.name}"
        self._topic = f"projects/{url.project}/topics/{url.name}"
        self._rows = rows
        self._patience = patience
        self._held: list[bytes] = []
        self._upto = self._place = Place(0)
        try:
            self._client = PublisherClient()
        except GoogleAuthError as error:
            raise self._denied(error) from error
        self._patience.attempt(self._look, self._trouble)

    def begin(self, source: SourceFile) -> Mapping[str, Any]:
        return {}

    def resume(self, source: SourceFile, known: Mapping[str, Any], arrived: Place) -> Place | None:
        self._place = arrived
        return arrived

    def chunks(self, source: SourceFile, file: IO[bytes], at: Place) -> Iterator[tuple[bytes, Place]]:
        for piece, behind in pieces(source, file, at, self._rows):
            yield encode(piece), behind

    def send(self, chunk: bytes, upto: Place) -> None:
        self._held.append(chunk)
        self._upto = upto
        if sum(map(len, self._held)) >= _REQUEST_BYTES:
            self.finish()

    def arrived(self) -> Place:
        return self._place

    def finish(self) -> None:
        if self._held:
            request = {"topic": self._topic, "messages": [{"data": chunk} for chunk in self._held]}
            self._patience.attempt(
                lambda: self._client.publish(request=request, retry=None, timeout=_TIMEOUT_S), self._trouble
            )
            self._held = []
        self._place = self._upto

    def check_there(self, source: SourceFile, known: Mapping[str, Any]) -> None:
        """There is the topic. Whether it is the same one, and what is in it, Pub/Sub tells nobody."""

    def close(self) -> None:
        self._client.transport.close()

    @property
    def next_step(self) -> str:
        return f"pubsub://{self._url.project}/SUBSCRIPTION"

    def _look(self) -> None:
        with suppress(exceptions.PermissionDenied):  # who may publish to a topic may not always look at it
            self._client.get_topic(topic=self._topic, retry=None, timeout=_TIMEOUT_S)

    def _trouble(self, error: Exception) -> str | PrestaCopError:
        if isinstance(error, _PASSING):
            return f"{self._name}: {error}"
        if isinstance(error, exceptions.NotFound):
            return InputUnusable(
                f"{self._name}: there is no such topic; check the name, or make it: gcloud pubsub topics create "
                f"{self._url.name} --project {self._url.project}"
            )
        if isinstance(error, _DENIED):
            return self._denied(error)
        if isinstance(error, exceptions.GoogleAPIError):
            return OutputUnusable(f"{self._name} takes no messages: {error}")
        raise error

    def _denied(self, error: Exception) -> NotPermitted:
        return NotPermitted(f"{self._name}: {error}. Check GOOGLE_APPLICATION_CREDENTIALS and the right to publish")
