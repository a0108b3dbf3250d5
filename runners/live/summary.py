"""What a live run prints at its end."""

from collections.abc import Iterator, Sequence

from pipelines.cli.commit_progress import COUNTS
from runners.live.metrics import Metrics
from schemas.lake import ROWS_IN, Source
from terminal.bars import clock
from terminal.printing import number_of

_SERVICES = "prestacop services"


def summary(published: int, metrics: Metrics) -> Iterator[str]:
    """The counts of the whole run; ``published`` is in messages."""
    now, committed, windows = metrics.update(), metrics.committed, metrics.windows
    sources = (Source.DRONES, Source.IMAGES)
    yield f"{number_of(committed.units, 'unit')}, {number_of(committed.files, 'file')} in {clock(int(now.seconds))}"
    yield ""
    yield _line("", sources)
    yield _line("published", [f"{published:,}"])
    yield _line("read", [f"{metrics.read[source]:,}" for source in sources])
    for column in COUNTS:
        label = "committed" if column == ROWS_IN else "→ " + column.replace("_", " ")
        yield _line(label, [f"{committed.rows[source][column]:,}" for source in sources])
    too_late = f"   {windows.too_late:,} of them too late for the live windows" if windows.too_late else ""
    yield _line("late", [f"{windows.late + windows.too_late:,}"]) + too_late


def next_steps(lake: str, flags: str, stream: str, stopped: Sequence[str], is_drained: bool) -> Iterator[str]:
    """The commands that read the lake, and the one that resumes the run.

    Args:
        flags: the flags with which ``prestacop services`` finds the servers.
        stopped: the servers that do not run any more.
        is_drained: whether everything that was published is in the lake.
    """
    if not is_drained:
        lost = stream == "pubsub" and stream in stopped
        then = "they were lost with the Pub/Sub server" if lost else "make live resumes there"
        yield f"some published messages are not in the lake: {then}"
    yield f"lake    {lake}"
    if lake.startswith("s3://"):
        if "s3" in stopped:
            yield f"first   {_SERVICES} up s3{flags}"
        yield f'then    eval "$({_SERVICES} status s3 --env{flags})"'
    yield f"then    make reconcile LAKE={lake}"
    yield f"or      make analyze LAKE={lake}"
    yield "again   make live: it resumes where it has stopped"


def _line(label: str, cells: Sequence[str]) -> str:
    return f"  {label:14}" + "".join(f"{cell:>12}" for cell in cells)
