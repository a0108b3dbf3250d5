"""Pictures, from the images' topic: they wait for their alerts, and their alerts for them.

The graph puts them into the lake under names that only its own readers find; an officer needs one within seconds, so
the console keeps the newest itself. Their names on the disk are hashes: nothing that a message says is ever part of a
path.
"""

import hashlib
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from schemas.pictures import decode_picture

from .database import Database
from .reading import take

IMAGES: Final = "images"
KEPT_BYTES: Final = 2 * 1024**3
"""Beyond this the oldest pictures go; never one whose alert is open."""


class Pictures:
    """The pictures that the console has."""

    def __init__(
        self, database: Database, folder: Path, clock: Callable[[], float], changed: Callable[[], None]
    ) -> None:
        self._database = database
        self._folder = folder
        self._clock = clock
        self._changed = changed
        folder.mkdir(mode=0o700, exist_ok=True)

    def take(self, payloads: Sequence[bytes], positions: Mapping[int, int]) -> None:
        """Keep pictures as they come; what is none is kept as refused."""
        now = self._clock()

        def keep(connection: sqlite3.Connection, picture: tuple[str, str, int]) -> None:
            connection.execute("INSERT INTO pictures VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", (*picture, now))

        take(self._database, IMAGES, payloads, positions, self._save, keep, now)
        self._changed()

    def _save(self, payload: bytes) -> tuple[str, str, int]:
        """Write a picture to the disk: its image_id, its file and its bytes."""
        image_id, _, jpeg = decode_picture(payload)
        name = hashlib.sha256(jpeg).hexdigest() + ".jpg"
        partial = self._folder / f"{name}.part"
        partial.write_bytes(jpeg)
        os.replace(partial, self._folder / name)
        return image_id, name, len(jpeg)

    def of(self, alert: int) -> Path | None:
        """The picture of an alert, if it is here."""
        row = self._database.row("SELECT file FROM alerts JOIN pictures USING (image_id) WHERE alerts.id = ?", alert)
        return self._folder / row["file"] if row else None

    def tidy(self, kept_bytes: int = KEPT_BYTES) -> None:
        """Remove the oldest where there are too many."""
        excess = self._database.number("SELECT coalesce(sum(bytes), 0) FROM pictures") - kept_bytes
        if excess <= 0:
            return
        old = self._database.rows(
            "SELECT image_id, file, bytes FROM pictures WHERE NOT EXISTS"
            " (SELECT 1 FROM alerts WHERE alerts.image_id = pictures.image_id AND answered = 0) ORDER BY came_at"
        )
        for row in old:
            if excess <= 0:
                return
            with self._database.transaction() as connection:
                connection.execute("DELETE FROM pictures WHERE image_id = ?", [row["image_id"]])
                same = connection.execute("SELECT 1 FROM pictures WHERE file = ?", [row["file"]]).fetchone()
            if same is None:
                (self._folder / row["file"]).unlink(missing_ok=True)
            excess -= row["bytes"]
