"""``--status``: the progress of each load, read from the journals."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from schemas.errors import PrestaCopError

from .entries import Entry
from .journal import entries_of, paths


def status(where: Path) -> tuple[list[str], list[PrestaCopError]]:
    """A line for each load that was begun on this computer, the latest last; and the errors of unreadable journals."""
    found: list[tuple[list[Entry], bool]] = []
    odd: list[PrestaCopError] = []
    for path in paths(where):
        try:
            entries, running = entries_of(path)
        except PrestaCopError as error:
            odd.append(error)
            continue
        if entries:
            found.append((entries, running))
    return list(_lines(found)), odd


def _lines(journals: list[tuple[list[Entry], bool]]) -> Iterator[str]:
    for entries, running in sorted(journals, key=lambda found: found[0][-1]["at"]):
        begun, last = entries[0], entries[-1]
        offset = last.get("offset", 0)
        share = last.get("read", 0) / max(begun["size"], 1)
        when = datetime.fromtimestamp(last["at"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        rows = f", {last['record']:,} rows" if last.get("record") else ""
        if "done" in last:
            state = "loaded"
        elif running:
            state = f"{share:4.0%} loading"
        else:
            state = f"{share:4.0%} stopped"
        yield f"{state:13} {begun['path']} -> {begun['target']}  {offset:,} bytes{rows}, {when}"
