"""The state of loaded files in the lake, in objects below ``plans/``: see :mod:`sources.loaded.topic`."""

import hashlib
import re
import zlib
from collections.abc import Callable
from typing import Final

from lake.storage import storage
from schemas.errors import LakeDamaged

REMEMBERED: Final = "plans/loaded"
_LISTS: Final = "plans/loaded_lists"
CELLS: Final = "plans/loaded_cells"
REFUSED: Final = "plans/loaded_refused"
_NOTE: Final = re.compile(r"(?P<unit>[a-z]+-\d{5,}-[0-9a-f]{32}|)(?: (?P<crc>[0-9a-f]{8}))?", re.ASCII)
"""The note of a cell: its unit, and a checksum of the name and the key."""
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{32}")
_KEY: Final = re.compile(r"[0-9a-f]{32}-[0-9a-f]{32}")


def remembered(root: str) -> set[str]:
    """The fingerprints of the files whose rows are all in the lake. Raises LakeDamaged."""
    store = storage(root)
    # Before the lists: what is merged is deleted after the list that has it was written.
    found = {info.base_name for info in store.list(REMEMBERED)}
    try:
        for info in store.list(_LISTS):
            data = store.read(f"{_LISTS}/{info.base_name}")
            if digest(data) != info.base_name:
                raise LakeDamaged(f"{root}: {_LISTS}/{info.base_name} is damaged; restore it from a copy")
            found.update(data.decode().split())
    except FileNotFoundError:  # it was merged into another one meanwhile
        return remembered(root)
    return found


def tidy(root: str) -> int:
    """Merge what is remembered of files into one list, which may be done at any time, by several at once; returns how
    many objects were deleted."""
    store = storage(root)
    single = [f"{REMEMBERED}/{i.base_name}" for i in store.list(REMEMBERED) if _FINGERPRINT.fullmatch(i.base_name)]
    lists = {f"{_LISTS}/{info.base_name}" for info in store.list(_LISTS)}
    if not single and len(lists) < 2:
        return 0
    data = "\n".join(
        sorted(filter(_FINGERPRINT.fullmatch, remembered(root)))
    ).encode()  # after the names above were read
    merged = f"{_LISTS}/{digest(data)}"
    store.put(merged, data)
    store.flush()
    gone = [*single, *sorted(lists - {merged})]
    store.delete_all(gone)
    return len(gone)


def note_of(key: str, unit: str) -> bytes:
    """The note of a cell; ``unit`` is ``""`` where no record begins in it."""
    return f"{unit} {_checksum(key, unit)}".encode()


def _checksum(key: str, name: str) -> str:
    return f"{zlib.crc32(f'{key} {name}'.encode()):08x}"


def noted_unit(data: bytes, key: str) -> str | None:
    """The unit in a note, ``""`` for none; None where it is damaged or empty. Earlier versions wrote the name alone."""
    found = _NOTE.fullmatch(data.decode("ascii", "replace"))
    if not found or not found[0] or found["crc"] not in (None, _checksum(key, found["unit"])):
        return None
    return found["unit"]


def drop_refused(root: str, has_it: Callable[[bytes], bool]) -> int:
    """Delete the stored messages that the loader did not send of which this is true; returns their number."""
    store = storage(root)
    paths = [f"{REFUSED}/{info.base_name}" for info in store.list(REFUSED)]
    found = [path for path in paths if has_it(store.read(path))]
    store.delete_all(found)
    return len(found)


def fault(path: str, data: bytes) -> str | None:
    """What is wrong with a file below ``plans/`` with state of loaded files; None if nothing is."""
    folder, _, name = path.rpartition("/")
    if folder == REMEMBERED and _FINGERPRINT.fullmatch(name):
        return "is damaged: it must be empty; empty it" if data else None
    if folder == _LISTS and _FINGERPRINT.fullmatch(name):
        return None if digest(data) == name else "is damaged: its hash is not its name; restore it from a copy"
    if folder == CELLS and _KEY.fullmatch(name):
        return "is damaged; remove it, and run again" if noted_unit(data, name) is None else None
    if folder == REFUSED and _FINGERPRINT.fullmatch(name):
        return None if digest(data) == name else "is damaged: its hash is not its name; put it back from a copy"
    return "is no plan"


def digest(message: bytes) -> str:
    return hashlib.blake2b(message, digest_size=16).hexdigest()
