"""Metrics -> lines of text as wide as the terminal, and the screen that shows them."""

import os
import shutil
import sys
import textwrap
import time
from collections.abc import Iterable, Sequence

from runners.live.metrics import SILENT_SECONDS, Level, Snapshot, State, Window
from schemas.lake import Dataset
from schemas.violation_codes import code_name
from terminal.bars import clock
from terminal.printing import printable, unguarded

GAP = "   "
CODES = 8
"""So many codes of a window are shown at most, fewer where the line is short."""
NAMED = 3
"""So many of them are shown by name."""
PLAIN_SECONDS = 5.0
_COLOURS = {Level.GREEN: 32, Level.AMBER: 33, Level.RED: 31}
"""ANSI."""


class Screen:
    """Lines that are overwritten in place on a terminal; elsewhere a line is printed every few seconds."""

    def __init__(self) -> None:
        self.is_terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self._shown: Sequence[str] = ()
        self._printed = -PLAIN_SECONDS
        self._note = ""

    @property
    def columns(self) -> int:
        """The width now, without the last column: some terminals wrap the line after it."""
        return shutil.get_terminal_size().columns - 1

    def show(self, state: Sequence[str], level: Level, lines: Sequence[str] = ()) -> None:
        """Overwrite the lines before with the state's, in the colour of its level, and ``lines``, as many as fit."""
        lines = [*state, *lines][: shutil.get_terminal_size().lines - 1]
        # In a window that has become narrower, an earlier line takes several now.
        above = sum(1 + len(line) // (self.columns + 1) for line in self._shown)
        back = f"\x1b[{above}F" if above else ""
        terminal = unguarded(sys.stdout)
        shown = [printable(line) for line in lines]
        if "NO_COLOR" not in os.environ:
            shown[: len(state)] = [f"\x1b[1;{_COLOURS[level]}m{line}\x1b[0m" for line in shown[: len(state)]]
        terminal.write(f"{back}\x1b[J" + "".join(f"{line}\n" for line in shown))
        terminal.flush()
        self._shown = lines

    def announce(self, state: State) -> None:
        """A line that stays, above what is overwritten."""
        if self.is_terminal:
            self.show([_state(state)], state.level)
            self._shown = ()
        else:
            print(_state(state), flush=True)

    def print(self, line: str, note: str) -> None:
        """Print a line if the last one is :data:`PLAIN_SECONDS` old or had another note: Ctrl-C is answered at once."""
        if note != self._note or time.monotonic() - self._printed >= PLAIN_SECONDS:
            self._printed, self._note = time.monotonic(), note
            print(line, flush=True)


def state_lines(state: State, columns: int) -> list[str]:
    """The state, in as many lines as it needs."""
    return textwrap.wrap(_state(state), columns)


def lines(title: str, note: str, now: Snapshot, columns: int) -> list[str]:
    """What a terminal shows below the state: the metrics, and two windows."""
    shown = [
        *_folded([title, clock(int(now.seconds)), note], columns),
        "",
        *_folded([GAP.join(_stream(now)), GAP.join(_lake(now))], columns),
        "",
        *_table(now.complete, now.filling, columns),
    ]
    return [line[:columns] for line in shown]


def plain(state: State, note: str, now: Snapshot) -> str:
    """The metrics as one line, for a file or a pipe."""
    window = now.complete
    last = [f"window {_time(window)}: {_rows(window)}"] if window else []
    shown = [_state(state), clock(int(now.seconds)), *_stream(now), *_lake(now), *last, note]
    return ", ".join(filter(None, shown))


def _state(state: State) -> str:
    return f"{state.level.upper()}: {state.text}"


def _stream(now: Snapshot) -> list[str]:
    if not now.started:
        return []
    # How many messages wait is not known while nothing is reported.
    is_silent = now.silent_seconds > SILENT_SECONDS[0]
    behind = "" if now.behind is None or is_silent else f"{now.behind:,} messages, "
    return [
        f"{now.messages_per_second:,.0f} messages/s",
        f"{now.bytes_per_second / 1e6:.2f} MB/s",
        f"lag {behind}{now.lag_seconds:.1f} s",
        f"{now.uncommitted} uncommitted units",
    ]


def _lake(now: Snapshot) -> list[str]:
    return [
        f"{now.units:,} units committed",
        f"{now.files:,} files",
        f"{now.rows:,} rows",
        f"{now.late:,} late",
        *([f"{now.too_late:,} too late"] if now.too_late else []),
        f"{now.dead_letters:,} dead letters",
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
    """The non-empty parts in as few lines as possible."""
    folded: list[str] = []
    for part in filter(None, parts):
        if folded and len(folded[-1]) + len(gap) + len(part) <= columns:
            folded[-1] += gap + part
        else:
            folded.append(part)
    return folded
