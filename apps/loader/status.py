"""``--status``: what the journals say."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from .journal import journals


def status(where: Path) -> Iterator[str]:
    """A line for each load that was ever begun here, the latest at the end."""
    for entries, running in sorted(journals(where), key=lambda found: found[0][-1]["at"]):
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
