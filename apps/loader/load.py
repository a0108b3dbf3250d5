"""Load one file: send what the target has not acknowledged yet, and journal what it has."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from messaging.retry import Patience
from schemas.errors import AcknowledgedLost, InputChanged
from terminal.bars import Bar

from . import journal
from .journal import Journal
from .pieces import Place
from .progress import progress
from .source import SourceFile, look_at
from .target import Target

WRITTEN_EVERY_S: Final = 0.25
"""Interval of journal writes, each of which syncs the disk: after a power cut at most this much is sent again."""


class LoadOptions(NamedTuple):
    """The options of a load."""

    journals: Path
    target: str
    """Its URL; there is one journal per file and target."""
    make: Callable[[Patience], Target]
    patience: float
    """Seconds."""
    max_rate: float | None = None
    """Bytes a second."""
    restart: bool = False
    quiet: bool = False


def load(path: Path, options: LoadOptions) -> str:
    """Load a file, or the rest of it; returns a line for the user.

    Raises InputChanged, InputUnusable, InUse, NotPermitted, OutputUnusable, DiskFull, ServiceUnavailable.
    """
    with journal.opened(options.journals, path, options.target) as written:
        source = look_at(path)
        same = written.begun.get("fingerprint") == source.fingerprint
        if written.begun and not written.done and not same and not options.restart:
            raise InputChanged(
                f"{path} has changed since its load began. Restore the old file, or load the new one from its start "
                "with --restart"
            )
        fresh = not same or options.restart
        before = 0 if fresh else written.read
        with Bar(desc=path.name, unit="B", quiet=options.quiet, total=source.size, done=before) as bar:

            def report(note: str) -> None:
                bar.note = progress.trouble = note
                bar.update()

            begun = bool(written.begun) and not written.done
            target = options.make(Patience(options.patience, report, answered=begun))
            try:
                if written.done and not fresh:
                    target.check_there(source, written.known)
                    return f"{path} was already loaded to {options.target}; --restart loads it again"
                return _load(source, target, written, options, bar, fresh)
            except AcknowledgedLost:
                written.begin(written.begun)
                raise
            finally:
                target.close()


def _load(source: SourceFile, target: Target, written: Journal, options: LoadOptions, bar: Bar, fresh: bool) -> str:
    at = None if fresh else target.resume(source, written.known, written.place)
    lost = "" if fresh or (at and at.offset >= written.place.offset) else "; the target had lost some of it"
    if at is None:
        facts = {"path": str(source.path.absolute()), "target": options.target, "size": source.size}
        written.begin({**facts, "fingerprint": source.fingerprint, **target.begin(source)})
        at = target.resume(source, written.known, Place(0)) or Place(0)
    began, first, sent, last, read = time.monotonic(), at.offset, 0, time.monotonic(), written.read

    def acknowledged() -> None:
        place = target.arrived()
        written.arrived(place, read, target.where())
        progress.advance(place.offset, read / max(source.size, 1))

    with source.open(target.text) as file:
        try:
            for chunk, behind in target.chunks(source, file, at):
                source.check(file)
                source.check_length(behind.offset)
                target.send(chunk, behind)
                at = behind
                sent += len(chunk)
                progress.sent += len(chunk)
                read = source.read_of(file)
                bar.note = progress.trouble = ""
                bar.update(read - bar.n)
                if time.monotonic() - last > WRITTEN_EVERY_S:
                    acknowledged()
                    last = time.monotonic()
                if options.max_rate:
                    time.sleep(max(sent / options.max_rate - (time.monotonic() - began), 0))
            source.check(file)
            acknowledged()
            target.finish()
        except KeyboardInterrupt:
            acknowledged()
            raise
    written.finished(at, target.where())
    took = max(time.monotonic() - began, 1e-3)
    resumed = f" (the first {first:,} had been sent before{lost})" if first or lost else ""
    rows = f", {at.record:,} rows" if at.record else ""
    return (
        f"{source.path}: {at.offset:,} bytes{rows}{resumed}, {(at.offset - first) / took / 1e6:.1f} MB/s. To read it:\n"
        f"  prestacop run --history '{target.next_step}' --lake LAKE"
    )
