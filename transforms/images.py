"""Pictures: their bytes go to object storage under a name made from them, their rows keep the reference.

Nothing that a message says is ever part of a path.
"""

import binascii
import hashlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, NamedTuple

import apache_beam as beam
import msgspec
import pyarrow as pa

from lake.storage import storage
from schemas.lake import IMAGE, UTC, constant
from schemas.messages import MAX_IMAGE_BYTES, MAX_IMAGE_PIXELS, ImageMessage, Reason
from sources.units import UnitBatch
from transforms.jpeg import NoJpegError, claimed_pixels
from transforms.message_rows import dead_letters
from transforms.names import DEAD_LETTERS, ROWS, Parsed
from transforms.payloads import Refusal, event_time_of

PUTS = 16
"""Pictures of one batch that are on their way to storage at once: a PUT waits for the network, not for a core."""

_TOO_LARGE = f"more than {MAX_IMAGE_BYTES} bytes"
_decode = msgspec.json.Decoder(ImageMessage).decode


class Picture(NamedTuple):
    """A picture as it came."""

    image_id: str
    event_time: int
    """Microseconds since the epoch."""
    jpeg: bytes


def read_picture(payload: bytes) -> Picture | Refusal:
    """Read an image message, v1 or v0, or say why it cannot be."""
    if not payload.strip():
        return Refusal(Reason.EMPTY)
    try:
        message = _decode(payload) if payload.startswith(b"{") else _read_line(payload)
    except (msgspec.MsgspecError, ValueError) as error:  # a year beyond 9999 too
        return Refusal(Reason.FIELD_INVALID, str(error)[:200])
    if message is None:
        return Refusal(Reason.V0_MALFORMED, f"{payload.count(b';') + 1} fields, not 3")
    event_time = event_time_of(message.event_time)
    if event_time is None:
        return Refusal(Reason.EVENT_TIME_UNREADABLE, message.event_time)
    if len(message.data) > MAX_IMAGE_BYTES * 4 // 3 + 4:  # before a text of any length is decoded
        return Refusal(Reason.TOO_LARGE, _TOO_LARGE)
    try:
        jpeg = binascii.a2b_base64(message.data, strict_mode=True)
    except (binascii.Error, ValueError) as error:
        return Refusal(Reason.IMAGE_NOT_BASE64, str(error))
    if len(jpeg) > MAX_IMAGE_BYTES:
        return Refusal(Reason.TOO_LARGE, _TOO_LARGE)
    try:
        pixels = claimed_pixels(jpeg)
    except NoJpegError as error:
        return Refusal(Reason.IMAGE_NOT_JPEG, str(error))
    if pixels > MAX_IMAGE_PIXELS:
        return Refusal(Reason.IMAGE_TOO_MANY_PIXELS, f"{pixels}, more than {MAX_IMAGE_PIXELS}")
    return Picture(message.image_id, event_time, jpeg)


def _read_line(payload: bytes) -> ImageMessage | None:
    parts = payload.decode().split(";")
    if len(parts) != 3:
        return None
    when = msgspec.convert(parts[0], datetime, strict=False)  # seconds since the epoch
    fields = {"schema_version": 1, "image_id": parts[1], "event_time": when.isoformat(), "data": parts[2]}
    return msgspec.convert(fields, ImageMessage)


def object_path(jpeg: bytes) -> str:
    """The path below the lake's root of a picture: the same picture has one name, however often it comes."""
    name = hashlib.sha256(jpeg).hexdigest()
    return f"pictures/{name[:2]}/{name}.jpg"


def store_pictures(root: str, batch: UnitBatch) -> Parsed:
    """Put the pictures of a batch of payloads into the lake, several at once.

    A picture that cannot be put fails the batch, so that no row refers to it; those that were put stay, and are
    put again under the same names when the unit is read again.

    Returns:
        Rows of :data:`schemas.lake.IMAGE` and dead letters, in the order of the payloads; each payload is in one.
    """
    found: list[tuple[int, Picture]] = []
    refused: list[tuple[int, Refusal]] = []
    for place, payload in enumerate(batch.rows["payload"].to_pylist()):
        picture = read_picture(payload)
        if isinstance(picture, Refusal):
            refused.append((place, picture))
        else:
            found.append((place, picture))
    pictures = [picture for _, picture in found]
    objects = [object_path(picture.jpeg) for picture in pictures]
    _put(root, {path: picture.jpeg for path, picture in zip(objects, pictures, strict=True)})
    places = pa.array([place for place, _ in found], pa.int64())
    columns = [
        constant(batch.unit.name, len(found)),
        batch.rows["record"].take(places),
        pa.array([picture.image_id for picture in pictures], pa.string()),
        pa.array([picture.event_time for picture in pictures], pa.int64()).cast(UTC),
        pa.array(objects, pa.string()),
        pa.array([len(picture.jpeg) for picture in pictures], pa.int64()),
        batch.rows["published_at"].take(places),
    ]
    return Parsed(pa.RecordBatch.from_arrays(columns, schema=IMAGE), dead_letters(batch.unit, batch.rows, refused))


def _put(root: str, files: Mapping[str, bytes]) -> None:
    """Put them all; raises what the first that fails raises, and then begins no other."""
    if not files:
        return
    put = storage(root).put
    with ThreadPoolExecutor(min(PUTS, len(files)), thread_name_prefix="put") as pool:
        for _ in pool.map(put, files.keys(), files.values()):
            pass


class _Store(beam.DoFn):  # type: ignore[misc]  # Beam's classes are untyped
    def __init__(self, root: str) -> None:
        self._root = root

    def process(self, batch: UnitBatch) -> Iterator[Any]:
        parsed = store_pictures(self._root, batch)
        yield batch.with_rows(parsed.rows)
        yield beam.pvalue.TaggedOutput(DEAD_LETTERS, batch.with_rows(parsed.dead_letters))


class StoreImages(beam.PTransform):  # type: ignore[misc]
    """Payloads of the images' topic -> ``rows`` that refer to the stored pictures, and ``dead_letters``."""

    def __init__(self, root: str) -> None:
        super().__init__()
        self._root = root

    def expand(self, batches: beam.PCollection) -> Any:
        return batches | "Store" >> beam.ParDo(_Store(self._root)).with_outputs(DEAD_LETTERS, main=ROWS)
