"""How a change of the lake is committed beside others."""

import secrets
from collections.abc import Callable, Iterable
from typing import Any

from lake import Lake, filled_lake
from lake.changes import Change, changes_since, reading
from lake.publication import publish, settled


def commit_change(
    root: str, what: str, attempt: Callable[[Lake, Change], None], but: Iterable[str] = ()
) -> dict[str, Any] | None:
    """Publish what is committed, then commit a change; start again where another process commits one first (optimistic
    concurrency).

    Args:
        attempt: gets the lake as it is before the change, and commits the change unless there is nothing to do.
        but: units that are not published before.

    Returns:
        The change's row of the ledger; None where there was nothing to do.

    Raises:
        InputUnusable: there is no lake.
        InputChanged: a vacuum removed files that were still to be read.
    """
    publish(root, but)
    while True:
        with reading(root, what):
            lk = filled_lake(root)
            change = Change(lk.number + 1, secrets.token_hex(4), what)
            attempt(lk, change)
        put = changes_since(root, lk.number).slice(0, 1).to_pylist()
        if not put or put[0]["unit"] == change.name:
            settled(root)
            return next(iter(put), None)
