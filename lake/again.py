"""Undone units whose input may be read again, under another name, since the ledger keeps the old one.

The new name is a function of the old one, so that every run that reads the same bytes commits the same unit, once. An
empty object ``again/UNIT`` permits it; it is written after the change that records this in the ledger.
"""

import hashlib
from collections.abc import Iterable

from lake.ledger import is_committed
from lake.storage import storage
from schemas.lake import Source

_AGAIN = "again"


def name_again(unit: str) -> str:
    """The name under which the bytes of an undone unit are read again.

    >>> name_again("history-00003-" + 32 * "a")
    'history-00003-c135bd2de1f9ec771db335e18104688f'
    """
    place, _, _ = unit.rpartition("-")
    return f"{place}-{hashlib.blake2b(unit.encode(), digest_size=16).hexdigest()}"


def allow(root: str, units: Iterable[str]) -> None:
    """Let the next run that finds the bytes of these undone units read them."""
    store = storage(root)
    for unit in units:
        store.put(f"{_AGAIN}/{unit}", b"")
    store.flush()


def current_name(root: str, source: Source, unit: str) -> str:
    """The name of the unit with these bytes: another one if it was undone and may be read again."""
    while is_committed(root, source, unit) and storage(root).is_file(f"{_AGAIN}/{unit}"):
        unit = name_again(unit)
    return unit
