"""Figures -> lines of text, as wide as the terminal is."""

from collections.abc import Iterable

from pipelines.analysis.codes import code_name
from runners.live.panes import Window
from runners.live.seen import Seen
from schemas.lake import Dataset

GAP = "   "
CODES = 8
"""At most so many of the codes of a window are shown, fewer where the line is short."""
NAMED = 3
"""So many of them by name."""


def lines(title: str, note: str, seen: Seen, columns: int) -> list[str]:
    """What a terminal shows: the figures, and two windows below."""
    shown = [
        *_folded([title, clock(seen.seconds), note], columns),
        "",
        *_folded([GAP.join(_stream(seen)), GAP.join(_lake(seen))], columns),
        "",
        *_table(seen.complete, seen.filling, columns),
    ]
    return [line[:columns] for line in shown]


def plain(note: str, seen: Seen) -> str:
    """The same as one line, for a file or a pipe."""
    window = seen.complete
    last = [f"window {_time(window)}: {_rows(window)}"] if window else []
    return ", ".join([clock(seen.seconds), *_stream(seen), *_lake(seen), *last, *([note] if note else [])])


def clock(seconds: float) -> str:
    """Hours, minutes, seconds.

    >>> clock(3725.9)
    '1:02:05'
    """
    minutes, second = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{second:02}"


def _stream(seen: Seen) -> list[str]:
    if not seen.started:
        return ["the graph starts"]
    behind = "" if seen.behind is None else f"{seen.behind:,} messages, "
    return [
        f"{seen.messages_per_second:,.0f} messages/s",
        f"{seen.bytes_per_second / 1e6:.2f} MB/s",
        f"lag {behind}{seen.lag_seconds:.1f} s",
        f"{seen.under_way} units under way",
    ]


def _lake(seen: Seen) -> list[str]:
    return [
        f"{seen.units:,} units committed",
        f"{seen.files:,} files",
        f"{seen.rows:,} rows",
        f"{seen.late:,} late",
        *([f"{seen.too_late:,} too late"] if seen.too_late else []),
        f"{seen.dead_letters:,} dead letters",
    ]


def _table(complete: Window | None, filling: Window | None, columns: int) -> Iterable[str]:
    window = complete or filling
    if window is None:
        return
    head = f"{f'{window.seconds} s windows (UTC)':20}{'positions':>10}{'qualified':>11}{'unqualified':>13}{'dead':>6}"
    yield f"{head}{GAP}top codes"
    for one, state in ((complete, "complete"), (filling, "filling")):
        if one:
            counts = f"{one.rows[Dataset.POSITIONS]:>10,}{one.rows[Dataset.QUALIFIED]:>11,}"
            counts += f"{one.rows[Dataset.UNQUALIFIED]:>13,}{one.rows[Dataset.DEAD_LETTERS]:>6,}"
            start = f"{f'{_time(one)} {state}':20}{counts}{GAP}"
            codes = [f"{code} ×{n:,}" for code, n in one.codes.most_common(CODES)]
            yield start + next(iter(_folded(codes, columns - len(start), "  ")), "")
    if window.codes:
        yield ""
        yield from _folded([code_name(code) for code, _ in window.codes.most_common(NAMED)], columns)


def _rows(window: Window) -> str:
    shown = (Dataset.POSITIONS, Dataset.QUALIFIED, Dataset.UNQUALIFIED, Dataset.DEAD_LETTERS)
    return " ".join(f"{window.rows[dataset]:,} {dataset.replace('_', ' ')}" for dataset in shown)


def _time(window: Window) -> str:
    return f"{window.start:%H:%M:%S}"


def _folded(parts: Iterable[str], columns: int, gap: str = GAP) -> list[str]:
    """The parts that are not empty in as few lines as they fit in."""
    folded: list[str] = []
    for part in filter(None, parts):
        if folded and len(folded[-1]) + len(gap) + len(part) <= columns:
            folded[-1] += gap + part
        else:
            folded.append(part)
    return folded
