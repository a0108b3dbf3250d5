"""What is said at the end of a run."""

import re
from collections.abc import Iterator, Sequence

from pipelines.cli.commit_progress import COUNTS
from runners.live.seen import Measured
from runners.live.view import clock
from schemas.lake import Source
from sources.units import ROWS_IN

_PUBLISHED = re.compile(r"simulator: ([\d,]+) (?:messages|published)")
_SERVICES = "prestacop services"


def published(simulator_said: str) -> int:
    """How many messages the simulator has published, as far as it has said so.

    >>> published("simulator: 1,000 published, 10 a second\\nsimulator: 1,250 messages in 2.0 s, 625 a second")
    1250
    """
    found = _PUBLISHED.findall(simulator_said)
    return int(found[-1].replace(",", "")) if found else 0


def summary(messages: int, measured: Measured) -> Iterator[str]:
    """The figures of the whole run; ``messages`` were published."""
    seen, committed, windows = measured.look(), measured.committed, measured.windows
    sources = (Source.DRONES, Source.IMAGES)
    read = measured.figures.read if measured.figures else {}
    yield f"{committed.units:,} units, {committed.files:,} files in {clock(seen.seconds)}"
    yield ""
    yield _line("", sources)
    yield _line("published", [f"{messages:,}"])
    yield _line("read", [f"{read.get(source, 0):,}" for source in sources])
    for column in COUNTS:
        label = "committed" if column == ROWS_IN else "→ " + column.replace("_", " ")
        yield _line(label, [f"{committed.rows[source][column]:,}" for source in sources])
    too_late = f"   {windows.too_late:,} of them too late to be counted live" if windows.too_late else ""
    yield _line("late", [f"{windows.late + windows.too_late:,}"]) + too_late


def next_steps(lake: str, flags: str, stream: str, ended: Sequence[str], is_drained: bool) -> Iterator[str]:
    """How to ask the lake, and how to go on.

    Args:
        flags: what runners.services must be told to find the servers.
        ended: the servers that do not run any more.
        is_drained: whether the lake has all that was published.
    """
    if not is_drained:
        lost = stream == "pubsub" and stream in ended
        then = "the server of Pub/Sub has ended with them" if lost else "make live goes on from there"
        yield f"not all that was published is in the lake: {then}"
    yield f"lake    {lake}"
    if lake.startswith("s3://"):
        if "s3" in ended:
            yield f"first   {_SERVICES} up s3{flags}"
        yield f'then    eval "$({_SERVICES} status s3 --env{flags})"'
    yield f"then    make reconcile LAKE={lake}"
    yield f"or      make analyze LAKE={lake}"
    yield "again   make live: it goes on from there"


def _line(label: str, cells: Sequence[str]) -> str:
    return f"  {label:14}" + "".join(f"{cell:>12}" for cell in cells)
