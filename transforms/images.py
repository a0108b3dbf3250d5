"""Pictures: their bytes go to object storage under the hash of their content, rows keep the reference.

No text of a message is ever part of a path.
"""

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import apache_beam as beam
import pyarrow as pa

from lake.storage import storage
from lake.tombstones import tombstones
from schemas.lake import IMAGE, UTC, constant
from schemas.pictures import Picture, decode_picture
from sources.units import UnitBatch
from transforms.messages.payload import Refusal, guarded
from transforms.messages.rows import dead_letters
from transforms.outputs import DEAD_LETTERS, ROWS, Parsed
from transforms.refusals import ANY_NUMBER, MaxDeadLetters, Parser

PUTS = 16
"""Parallel uploads of one batch: a PUT waits for the network, not for a core."""


def read_picture(payload: bytes) -> Picture | Refusal:
    """Read an image message, v1 or v0; a refusal where it is invalid."""
    return guarded(decode_picture, payload)


def object_path(jpeg: bytes) -> str:
    """The path below the lake's root of a picture: the same picture always has the same name."""
    name = hashlib.sha256(jpeg).hexdigest()
    return f"pictures/{name[:2]}/{name}.jpg"


def store_pictures(root: str, batch: UnitBatch) -> Parsed:
    """Upload the pictures of a batch of payloads, several at once, but for those that were erased from the lake.

    A failed upload fails the batch, so that no row refers to a missing picture. Uploads are idempotent: a retry writes
    the same names.

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
    rows = pa.RecordBatch.from_arrays(columns, schema=IMAGE)
    erased = tombstones(root).erased(pa.Table.from_batches([rows]))
    kept = (of for of, gone in zip(zip(objects, pictures, strict=True), erased.tolist(), strict=True) if not gone)
    _upload(root, {path: picture.jpeg for path, picture in kept})
    return Parsed(rows, dead_letters(batch.unit, batch.rows, refused))


def _upload(root: str, files: Mapping[str, bytes]) -> None:
    """Upload all; raises the first error, and then starts no further upload."""
    if not files:
        return
    put = storage(root).put
    with ThreadPoolExecutor(min(PUTS, len(files)), thread_name_prefix="put") as pool:
        for _ in pool.map(put, files.keys(), files.values()):
            pass


class _Store(Parser):
    def __init__(self, root: str, limit: MaxDeadLetters) -> None:
        super().__init__(limit, root)
        self._lake = root

    def parse(self, batch: UnitBatch) -> Parsed:
        return store_pictures(self._lake, batch)


class StoreImages(beam.PTransform):  # type: ignore[misc]  # Beam's classes are untyped
    """Payloads of the images' topic -> ``rows`` that refer to the stored pictures, and ``dead_letters``."""

    def __init__(self, root: str, limit: MaxDeadLetters = ANY_NUMBER) -> None:
        super().__init__()
        self._store = _Store(root, limit)

    def expand(self, batches: beam.PCollection) -> Any:
        return batches | "Store" >> beam.ParDo(self._store).with_outputs(DEAD_LETTERS, main=ROWS)
