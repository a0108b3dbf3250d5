"""To a Google Cloud Pub/Sub topic: messages of whole records; the client goes to ``PUBSUB_EMULATOR_HOST`` where that is
set."""

from collections.abc import Iterator, Mapping
from typing import IO, Any, Final

from messaging.pubsub import Publisher, message
from messaging.retry import Patience
from messaging.urls import PubSubUrl
from schemas.loaded import encode

from .pieces import Place, pieces
from .source import SourceFile
from .target import Target

_REQUEST_BYTES: Final = 1 << 20
"""Of one request: an answer takes as long for one message as for eight."""
_TIMEOUT_S: Final = 30.0


class ToPubSub(Target):
    """A topic. A message may be duplicated or out of order: readers recognize it by fingerprint and offset."""

    text = True

    def __init__(self, url: PubSubUrl, rows: int, patience: Patience) -> None:
        self._url = url
        self._rows = rows
        self._batch: list[bytes] = []
        self._upto = self._place = Place(0)
        self._publisher = Publisher(url, patience, _TIMEOUT_S)
        self._publisher.find(patience)

    def begin(self, source: SourceFile) -> Mapping[str, Any]:
        return {}

    def resume(self, source: SourceFile, known: Mapping[str, Any], arrived: Place) -> Place | None:
        self._place = arrived
        return arrived

    def chunks(self, source: SourceFile, file: IO[bytes], at: Place) -> Iterator[tuple[bytes, Place]]:
        for piece, behind in pieces(source, file, at, self._rows):
            yield encode(piece), behind

    def send(self, chunk: bytes, upto: Place) -> None:
        self._batch.append(chunk)
        self._upto = upto
        if sum(map(len, self._batch)) >= _REQUEST_BYTES:
            self.finish()

    def arrived(self) -> Place:
        return self._place

    def finish(self) -> None:
        self._publisher.publish(map(message, self._batch))
        self._batch = []
        self._place = self._upto

    def check_there(self, source: SourceFile, known: Mapping[str, Any]) -> None:
        """The topic exists. Whether it is the same one, and what is in it, Pub/Sub does not report."""

    def close(self) -> None:
        self._publisher.close()

    @property
    def next_step(self) -> str:
        return f"pubsub://{self._url.project}/SUBSCRIPTION"
