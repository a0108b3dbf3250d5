"""Upload pictures to a lake, as drones do that send messages v2."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from schemas.pictures import picture_path

_PUTS: Final = 16


class Uploads:
    """The pictures of a lake: a directory, ``s3://`` or ``gs://``.

    Raises OutputUnusable, NotPermitted, ServiceUnavailable.
    """

    def __init__(self, root: str) -> None:
        from lake.storage import storage  # noqa: PLC0415  # it takes a second to import, and most fleets need none

        self._store = storage(root)

    def put(self, jpegs: Sequence[bytes]) -> None:
        """Upload pictures, several at once: when this returns all of them are there."""

        def put(jpeg: bytes) -> None:
            self._store.put(picture_path(hashlib.sha256(jpeg).hexdigest()), jpeg)

        with ThreadPoolExecutor(_PUTS, thread_name_prefix="upload") as pool:
            list(pool.map(put, jpegs))
        self._store.flush()
