"""Pictures: their bytes are in object storage under the hash of their content, rows keep the reference.

The graph uploads those that are in their messages (v1, v0); those of v2 were uploaded by their senders, and the graph
checks that they are there. A path is made of a hash alone, of no other text of a message.
"""

import hashlib
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import apache_beam as beam
import pyarrow as pa

from lake.storage import storage
from lake.tombstones import recent_tombstones
from schemas.lake import IMAGE, UTC, constant
from schemas.messages import Reason
from schemas.pictures import Picture, UploadedPicture, decode_picture, picture_path
from sources.units import UnitBatch
from transforms.messages.payload import Refusal, guarded
from transforms.messages.rows import dead_letters
from transforms.outputs import DEAD_LETTERS, ROWS, UPLOADED, Parsed
from transforms.refusals import ANY_NUMBER, MaxDeadLetters, Parser

PUTS = 16
"""Parallel requests of one batch: they wait for the network, not for a core."""

T = TypeVar("T")


def read_picture(payload: bytes) -> Picture | UploadedPicture | Refusal:
    """Read an image message, v2, v1 or v0; a refusal where it is invalid."""
    return guarded(decode_picture, payload)


def object_path(jpeg: bytes) -> str:
    """The path below the lake's root of a picture: the same picture always has the same name."""
    return picture_path(hashlib.sha256(jpeg).hexdigest())


def store_pictures(root: str, batch: UnitBatch) -> Parsed:
    """Upload the pictures of a batch of payloads, several at once, but for those that were erased from the lake; check
    that those which their senders have uploaded are there.

    A request that fails fails the batch, so that no row refers to a missing picture. Uploads are idempotent: a retry
    writes the same names.

    Returns:
        Rows of :data:`schemas.lake.IMAGE` with :data:`UPLOADED`, and dead letters, in the order of the payloads; each
        payload is in one.
    """
    read = [read_picture(payload) for payload in batch.rows["payload"].to_pylist()]
    refused = [(place, picture) for place, picture in enumerate(read) if isinstance(picture, Refusal)]
    found = [(place, picture) for place, picture in enumerate(read) if not isinstance(picture, Refusal)]
    pictures = [picture for _, picture in found]
    paths = [
        picture_path(one.sha256) if isinstance(one, UploadedPicture) else object_path(one.jpeg) for one in pictures
    ]
    places = pa.array([place for place, _ in found], pa.int64())
    columns = [
        constant(batch.unit.name, len(found)),
        batch.rows["record"].take(places),
        pa.array([picture.image_id for picture in pictures], pa.string()),
        pa.array([picture.event_time for picture in pictures], pa.int64()).cast(UTC),
        pa.array(paths, pa.string()),
        pa.array([one.bytes if isinstance(one, UploadedPicture) else len(one.jpeg) for one in pictures], pa.int64()),
        batch.rows["published_at"].take(places),
    ]
    rows = pa.RecordBatch.from_arrays(columns, schema=IMAGE)
    erased = recent_tombstones(root).erased(pa.Table.from_batches([rows])).tolist()
    store, together = storage(root), list(zip(paths, pictures, erased, strict=True))
    jpegs = {path: one.jpeg for path, one, gone in together if isinstance(one, Picture) and not gone}
    _each(lambda path: store.put(path, jpegs[path]), jpegs)
    sizes = _each(store.size, {path for path, one, _ in together if isinstance(one, UploadedPicture)})
    faults = [_fault(one, sizes[path]) if isinstance(one, UploadedPicture) else None for path, one, _ in together]
    is_uploaded = [
        isinstance(one, UploadedPicture) and fault is None for one, fault in zip(pictures, faults, strict=True)
    ]
    # What was erased is no dead letter: its picture was deleted, and the row is dropped.
    kept = [fault is None or gone for fault, gone in zip(faults, erased, strict=True)]
    refused += [
        (place, fault) for (place, _), fault, gone in zip(found, faults, erased, strict=True) if fault and not gone
    ]
    rows = rows.append_column(UPLOADED, pa.array(is_uploaded, pa.bool_())).filter(pa.array(kept, pa.bool_()))
    return Parsed(rows, dead_letters(batch.unit, batch.rows, sorted(refused)))


def _fault(picture: UploadedPicture, size: int | None) -> Refusal | None:
    """Why the uploaded picture is not the one of the message, by its size in the lake."""
    if size is None:
        return Refusal(Reason.IMAGE_NOT_UPLOADED, picture_path(picture.sha256))
    if size != picture.bytes:
        return Refusal(Reason.IMAGE_SIZE_DIFFERS, f"{size} bytes in the lake, {picture.bytes} in the message")
    return None


def _each(request: Callable[[str], T], paths: Collection[str]) -> dict[str, T]:
    """The answers by path; raises the first error, and then sends no further request."""
    if not paths:
        return {}
    with ThreadPoolExecutor(min(PUTS, len(paths)), thread_name_prefix="pictures") as pool:
        return dict(zip(paths, pool.map(request, paths), strict=True))


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
