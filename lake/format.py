"""The version of the lake's format: ``format.json`` at its root, written before the first unit of a lake.

A lake without it was written by a version before 6, all of which this one reads. CHANGELOG.md lists the versions.
"""

import json
from functools import lru_cache
from typing import Annotated, Final

import msgspec

from lake.storage import storage
from schemas.decoding import Undecodable, decode_json
from schemas.errors import LakeDamaged, LakeTooNew
from schemas.lake import LEDGER

FORMAT: Final = 7
"""The version that this program writes, and the newest one that it reads."""
FILE: Final = "format.json"


class _Format(msgspec.Struct):
    """Fields that a later version adds are ignored."""

    format: Annotated[int, msgspec.Meta(ge=1)]


_DECODER: Final = msgspec.json.Decoder(_Format)


@lru_cache(maxsize=64)
def check(root: str) -> None:
    """Refuse a lake that a newer version wrote. One request per root and process.

    Raises LakeTooNew, LakeDamaged.
    """
    found = _found(root)
    if found is not None and found > FORMAT:
        raise LakeTooNew(
            f"{root}: a newer version of PrestaCop wrote this lake (format {found}; this version reads up to "
            f"{FORMAT}); install a newer version. Nothing was changed"
        )


def _found(root: str) -> int | None:
    """The version of the lake; None before 6."""
    try:
        data = storage(root).read(FILE)
    except FileNotFoundError:
        return None
    try:
        return decode_json(data, _DECODER).format
    except Undecodable as error:
        raise LakeDamaged(f"{root}: {FILE} is damaged ({error}); put it back from a copy") from error


@lru_cache(maxsize=64)
def mark_new(root: str) -> None:
    """Write the version into a lake that has no unit yet; to be called before each commit. Raises as :func:`check`."""
    check(root)
    if LEDGER not in storage(root).names():
        mark(root)


def mark(root: str) -> None:
    """Write the version unless it is there: an event of a drone or a publication upgrades an older lake."""
    data = json.dumps({"format": FORMAT}).encode()
    found = _found(root)
    if found is None:
        storage(root).put_new(FILE, data)
    elif found < FORMAT:
        storage(root).put(FILE, data)
