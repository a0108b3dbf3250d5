"""Pictures from the images' topic, which may arrive before or after their alerts.

The graph puts them into the lake under names that only its own readers find; an officer needs one within seconds, so
the console keeps the newest itself. Their names on the disk are hashes: no other part of a message is ever part of a
path. One that its drone has uploaded (v2) is fetched from the lake when there is an alert with it.
"""

import hashlib
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from schemas.decoding import Undecodable
from schemas.pictures import UploadedPicture, decode_picture

from .database import Database
from .reading import refuse, take

IMAGES: Final = "images"
MOST_PICTURES: Final = 50_000
KEPT_BYTES: Final = 2 * 1024**3
"""Limit of stored pictures; beyond it the oldest are removed, those of answered alerts first, those that wait for
a second look last, never one of an open alert. Where none can be removed, further pictures wait in their topic
(backpressure)."""
_NOT_FETCHED: Final = 0
"""The size in the database of a picture that is in the lake only."""
_FETCHED_AT_ONCE: Final = 20
_FREED: Final = 0.05
"""Bytes freed at once."""
_OF_OPEN: Final = "EXISTS (SELECT 1 FROM alerts WHERE alerts.image_id = pictures.image_id AND answered = 0)"
_OF_ANY: Final = "EXISTS (SELECT 1 FROM alerts WHERE alerts.image_id = pictures.image_id)"

_OF_WAITING: Final = (
    "EXISTS (SELECT 1 FROM alerts JOIN second_looks ON alert = id"
    " WHERE alerts.image_id = pictures.image_id AND lease IS NULL)"
)


class Pictures:
    """The stored pictures.

    Args:
        alerts_wait: whether there are alerts that were not read yet: a picture that no alert names may be theirs.
    """

    def __init__(
        self,
        database: Database,
        folder: Path,
        clock: Callable[[], float],
        changed: Callable[[], None],
        alerts_wait: Callable[[], bool] = lambda: False,
    ) -> None:
        self._database = database
        self._folder = folder
        self._clock = clock
        self._changed = changed
        self._alerts_wait = alerts_wait
        folder.mkdir(mode=0o700, exist_ok=True)
        self._remove_unknown(path.name for path in list(folder.iterdir()))  # a console that was killed left them

    def take(self, payloads: Sequence[bytes], positions: Mapping[int, int]) -> None:
        """Store pictures, deduplicated by image_id (the first wins); invalid messages are stored as refused."""
        now = self._clock()
        written: list[str] = []

        def save(payload: bytes) -> tuple[str, str, int]:
            """Write a picture, if it came with its message; gives its image_id, file name and size."""
            picture = decode_picture(payload)
            if isinstance(picture, UploadedPicture):
                return picture.image_id, f"{picture.sha256}.jpg", _NOT_FETCHED
            name = hashlib.sha256(picture.jpeg).hexdigest() + ".jpg"
            written.append(name)
            self._write(name, picture.jpeg)
            return picture.image_id, name, len(picture.jpeg)

        def keep(connection: sqlite3.Connection, picture: tuple[str, str, int]) -> None:
            connection.execute("INSERT INTO pictures VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", (*picture, now))

        try:
            take(self._database, IMAGES, payloads, positions, save, keep, now)
        finally:
            self._remove_unknown(written)
        self.tidy()
        self._changed()

    def fetch(self, fetch: Callable[[str], bytes]) -> None:
        """Fetch the pictures of alerts that were uploaded; one that cannot be had is refused.

        Args:
            fetch: gives a picture by its SHA-256. Raises Undecodable where there is none, anything else for a fault of
                the lake.
        """
        waiting = self._database.rows(
            f"SELECT file, min(image_id) AS image_id FROM pictures WHERE bytes = {_NOT_FETCHED} AND {_OF_ANY}"
            f" GROUP BY file ORDER BY min(came_at) LIMIT {_FETCHED_AT_ONCE}"
        )
        for row in waiting:
            try:
                jpeg = fetch(row["file"].removesuffix(".jpg"))
            except Undecodable as error:
                with self._database.transaction() as connection:
                    refuse(connection, IMAGES, [(row["image_id"].encode(), str(error))], self._clock())
                    connection.execute(
                        f"DELETE FROM pictures WHERE file = ? AND bytes = {_NOT_FETCHED}", (row["file"],)
                    )
                continue
            self._write(row["file"], jpeg)
            with self._database.transaction() as connection:
                connection.execute("UPDATE pictures SET bytes = ? WHERE file = ?", (len(jpeg), row["file"]))
            self._remove_unknown([row["file"]])  # where it was tidied meanwhile
        if waiting:
            self.tidy()
            self._changed()

    def _write(self, name: str, jpeg: bytes) -> None:
        partial = self._folder / f"{name}.{secrets.token_hex(4)}.part"
        try:
            partial.write_bytes(jpeg)
            os.replace(partial, self._folder / name)
        finally:
            partial.unlink(missing_ok=True)

    def of(self, alert: int) -> Path | None:
        """The picture of an alert, if it has arrived."""
        row = self._database.row(
            f"SELECT file FROM alerts JOIN pictures USING (image_id) WHERE alerts.id = ? AND bytes > {_NOT_FETCHED}",
            alert,
        )
        return self._folder / row["file"] if row else None

    def has_room(self) -> bool:
        """Whether there is room for more pictures."""
        if self._is_within(KEPT_BYTES):
            return True
        self.tidy()
        return self._is_within(KEPT_BYTES)

    def tidy(self, kept_bytes: int = KEPT_BYTES) -> None:
        """Remove pictures beyond the limit."""
        if self._is_within(kept_bytes):
            return
        n, size = self._size()
        may_go = f"NOT {_OF_OPEN} AND {_OF_ANY}" if self._alerts_wait() else f"NOT {_OF_OPEN}"
        old = self._database.rows(
            f"SELECT image_id, file, bytes FROM pictures WHERE {may_go} ORDER BY {_OF_WAITING}, {_OF_ANY} DESC, came_at"
        )
        gone = []
        for row in old:
            if n <= MOST_PICTURES * (1 - _FREED) and size <= kept_bytes * (1 - _FREED):
                break
            gone.append(row)
            n, size = n - 1, size - row["bytes"]
        with self._database.transaction() as connection:
            connection.executemany("DELETE FROM pictures WHERE image_id = ?", [(row["image_id"],) for row in gone])
        self._remove_unknown(row["file"] for row in gone)

    def _is_within(self, kept_bytes: int) -> bool:
        n, size = self._size()
        return n < MOST_PICTURES and size < kept_bytes

    def _size(self) -> tuple[int, int]:
        row = self._database.row("SELECT count(*) AS n, coalesce(sum(bytes), 0) AS bytes FROM pictures")
        assert row is not None  # it counts
        return row["n"], row["bytes"]

    def _remove_unknown(self, names: Iterable[str]) -> None:
        """Remove files that belong to no picture."""
        for name in names:
            if not self._database.number("SELECT count(*) FROM pictures WHERE file = ?", name):
                (self._folder / name).unlink(missing_ok=True)
