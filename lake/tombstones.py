"""Tombstones: what was erased from a lake and must not come back.

A tombstone is an object below ``tombstones/`` whose name says everything that a worker needs, so that one listing is
enough: ``plate-HASH-AT``, ``image-HASH-AT`` or ``before-TIME-AT``. HASH is keyed with the lake's salt, times are in
microseconds since the epoch. A row of a plate is erased where its event is not later than AT, when somebody asked for
it; a picture by its image_id; positions and pictures where their event is before TIME.
"""

import hashlib
import re
import secrets
import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import lru_cache
from itertools import accumulate
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lake.storage import storage
from schemas.lake import MICROSECONDS, UTC

FOLDER: Final = "tombstones"
FRESH_SECONDS: Final = 5.0
"""How long a worker may go on with the tombstones that it has read."""
PLATE, IMAGE, BEFORE = "plate", "image", "before"
COLUMNS: Final = ("event_time", "plate_id", "image_id", "extra", "kind", "object", "payload", "detail", "published_at",
                  "payload_object")  # fmt: skip
"""What :meth:`Tombstones.erased` looks at."""
_SALT: Final = f"{FOLDER}/salt"
_NAME: Final = re.compile(r"(plate|image)-([0-9a-f]{32})-(\d{1,19})|(before)-(-?\d{1,19})-(\d{1,19})", re.ASCII)
_NEVER: Final = -(1 << 63)
_NOISE: Final = re.compile(r"[\W_]+")
_WORDS: Final = re.compile(r"[^\W_]+(?:[ .-][^\W_]+)*")
"""Words of a payload that may be one plate or identifier, as they stand close together."""
_JOINED: Final = 5
"""So many words at most may be one identifier: a UUID has five."""

Mask = npt.NDArray[np.bool_]


def normalized(text: str) -> str:
    """An identifier without blanks and signs, in capitals.

    >>> normalized(" abc-123 ")
    'ABC123'
    """
    return _NOISE.sub("", text).upper()


class Request(msgspec.Struct):
    """Who asked for a tombstone, and why."""

    by: str
    reason: str = ""


class Tombstone(NamedTuple):
    """One of them."""

    kind: str
    what: str
    """A keyed hash, or of ``before`` a time in microseconds since the epoch."""
    at: int
    """When somebody asked for it, in microseconds since the epoch."""

    @property
    def path(self) -> str:
        return f"{FOLDER}/{self.kind}-{self.what}-{self.at}"

    def __str__(self) -> str:
        """For people."""
        when = _text(self.at)
        if self.kind == BEFORE:
            return f"{when}  positions and pictures before {_text(int(self.what))}"
        return f"{when}  {self.kind} {self.what[:12]}…" + (", events until then" if self.kind == PLATE else "")


def _text(micros: int) -> str:
    return f"{pa.scalar(micros, pa.int64()).cast(UTC).as_py():%Y-%m-%d %H:%M:%S} UTC"


class Tombstones:
    """The tombstones of a lake, as they were when they were read."""

    def __init__(self, root: str, salt: bytes, tombstones: Iterable[Tombstone]) -> None:
        self._root, self._salt = root, salt
        self.all = sorted(tombstones, key=lambda one: (one.at, one.path))
        self._plates = {one.what: one.at for one in self.all if one.kind == PLATE}
        self._images = {one.what: one.at for one in self.all if one.kind == IMAGE}
        self._before = max((int(one.what) for one in self.all if one.kind == BEFORE), default=_NEVER)

    def __bool__(self) -> bool:
        return bool(self.all)

    def of(self, kind: str, text: str, at: int) -> Tombstone:
        """The tombstone of a plate or an image_id."""
        return Tombstone(kind, self._hash(normalized(text)), at)

    def with_more(self, more: Iterable[Tombstone]) -> "Tombstones":
        """These and others."""
        return Tombstones(self._root, self._salt, {*self.all, *more})

    def without_known(self, images: Iterable[str], at: int) -> list[Tombstone]:
        """The tombstones of pictures that have none."""
        found = (self.of(IMAGE, image, at) for image in images)
        return [one for one in found if one.what not in self._images]

    def erased(self, rows: pa.Table) -> Mask:
        """Which rows are erased.

        Args:
            rows: of any dataset but the statistics, before they are written or afterwards; of :data:`COLUMNS` those
                that they have.
        """
        there = set(rows.column_names)
        found: Mask = np.zeros(rows.num_rows, bool)
        if not self or not rows.num_rows:
            return found
        if "payload" in there:
            return self._letters(rows)
        times = rows["event_time"].cast(pa.int64()).to_numpy()
        if "object" in there:
            found |= (self._of_text(rows["image_id"], self._images) != _NEVER) | (times < self._before)
            return found
        if "kind" in there:
            found |= (times < self._before) & pc.equal(rows["kind"].cast(pa.string()), "position").to_numpy()
        elif "plate_id" not in there:
            found |= times < self._before
        if self._plates:
            if "plate_id" in there:
                found |= times <= self._of_text(rows["plate_id"], self._plates)
            if "extra" in there:
                found |= times <= self._extra(rows["extra"])
        return found

    def _hash(self, text: str) -> str:
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), key=self._salt, digest_size=16).hexdigest()

    def _of_text(self, column: pa.ChunkedArray, among: dict[str, int]) -> npt.NDArray[np.int64]:
        """For each row the time of its tombstone: each distinct value is hashed once."""
        encoded = column.combine_chunks().dictionary_encode()
        texts = encoded.dictionary.to_pylist()
        times = [among.get(self._hash(normalized(text)), _NEVER) for text in texts]
        places = encoded.indices.fill_null(len(texts)).to_numpy(zero_copy_only=False)
        found: npt.NDArray[np.int64] = np.array([*times, _NEVER], np.int64)[places]
        return found

    def _extra(self, column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
        """The same for the fields of a message that have no column: few rows have some."""
        times = np.full(len(column), _NEVER, np.int64)
        filled = np.flatnonzero(pc.greater(_lengths(column), 0).fill_null(False).to_numpy())
        for row, fields in zip(filled.tolist(), column.take(pa.array(filled)).to_pylist(), strict=True):
            times[row] = self._in_text(" \n ".join(text for field in fields for text in field if text))
        return times

    def _letters(self, rows: pa.Table) -> Mask:
        """Dead letters by their bytes: of what could not be read nobody knows which word is the plate."""
        found: Mask = np.zeros(rows.num_rows, bool)
        if not self._plates and not self._images:
            return found
        published = rows["published_at"].cast(pa.int64()).fill_null(_NEVER).to_numpy()
        objects = rows["payload_object"].to_pylist() if "payload_object" in rows.column_names else [None] * len(found)
        texts = zip(rows["payload"].to_pylist(), rows["detail"].to_pylist(), objects, strict=True)
        for row, (payload, detail, path) in enumerate(texts):
            whole = (path and self._object(path)) or payload
            until = self._in_text(f"{whole.decode('utf-8', 'replace')}\n{detail or ''}")
            found[row] = published[row] <= until != _NEVER
        return found

    def _object(self, path: str) -> bytes | None:
        try:
            return storage(self._root).read(path)
        except FileNotFoundError:  # reconcile names it
            return None

    def in_bytes(self, data: bytes) -> bool:
        """Whether bytes have an erased plate or image_id as words."""
        return self._in_text(data.decode("utf-8", "replace")) != _NEVER

    def _in_text(self, text: str) -> int:
        """The latest time of the tombstones whose identifier is in a text."""
        known = self._plates | self._images
        hashes = (self._hash(word) for word in {*_identifiers(text)})
        return max((known[one] for one in hashes if one in known), default=_NEVER)


def _identifiers(text: str) -> Iterator[str]:
    """What may be an identifier in a text, normalized: each word, alone and with the next ones.

    >>> sorted(_identifiers('{"plate": "ab 1"}'))
    ['1', 'AB', 'AB1', 'PLATE']
    """
    for match in _WORDS.finditer(text):
        words = _NOISE.split(match[0].upper())
        for start in range(len(words)):
            yield from accumulate(words[start : start + _JOINED])


def _lengths(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """How many fields the maps of a column have: Arrow counts elements of lists only."""
    chunks = [pa.array(np.diff(_offsets(chunk)), mask=chunk.is_null().to_numpy(False)) for chunk in column.chunks]
    return pa.chunked_array(chunks, pa.int32())


def _offsets(chunk: pa.MapArray) -> npt.NDArray[np.int32]:
    found: npt.NDArray[np.int32] = chunk.offsets.to_numpy(zero_copy_only=False)
    return found


def read_tombstones(root: str) -> Tombstones:
    """The tombstones as they are now: one listing, and nothing more where there are none."""
    found = [of for info in storage(root).list(FOLDER) if (of := _named(info.base_name))]
    return Tombstones(root, _salt(root) if found else b"", found)


_recent: Final[dict[str, tuple[float, Tombstones]]] = {}


def recent_tombstones(root: str) -> Tombstones:
    """The tombstones as they were a few seconds ago at most (:data:`FRESH_SECONDS`)."""
    now = time.monotonic()
    read, tombstones = _recent.get(root, (-FRESH_SECONDS, None))
    if tombstones is None or now - read >= FRESH_SECONDS:
        _recent[root] = now, (tombstones := read_tombstones(root))
    return tombstones


def _named(name: str) -> Tombstone | None:
    if not (found := _NAME.fullmatch(name)):
        return None
    kind, what, at = (part for part in found.groups() if part is not None)
    return Tombstone(kind, what, int(at))


@lru_cache(maxsize=64)
def _salt(root: str) -> bytes:
    return storage(root).read(_SALT)


def salted(root: str) -> Tombstones:
    """The tombstones of a lake that has a salt from now on."""
    storage(root).put_new(_SALT, secrets.token_bytes(32))
    return Tombstones(root, _salt(root), read_tombstones(root).all)


def unsalted(root: str) -> Tombstones:
    """The same of a lake that is not changed: a salt that it does not have is made up."""
    tombstones = read_tombstones(root)
    return tombstones if tombstones else Tombstones(root, secrets.token_bytes(32), ())


def put_tombstones(root: str, new: Iterable[Tombstone], by: str, reason: str = "") -> None:
    """Write tombstones: from :data:`FRESH_SECONDS` later on no worker writes such rows."""
    store = storage(root)
    for one in new:
        store.put(one.path, msgspec.json.encode(Request(by, reason)))
    store.flush()


def request_of(root: str, one: Tombstone) -> Request:
    """Who asked for it."""
    return msgspec.json.decode(storage(root).read(one.path), type=Request)


def now() -> int:
    """The time now, in microseconds since the epoch."""
    return time.time_ns() * MICROSECONDS // 1_000_000_000


def micros(time: datetime) -> int:
    """A time in microseconds since the epoch."""
    return round(time.timestamp() * MICROSECONDS)
