"""The limit of dead letters per unit, which stops a run with the wrong input.

Each unit is checked on its own, by the counts of its own bundle, before any of it is written: the check needs no state
and gives the same result in every attempt, on every runner, and whatever else is read.
"""

import logging
import re
import time
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Final, NamedTuple

import apache_beam as beam
import pyarrow as pa
from apache_beam.metrics import Metrics

from lake.erasure import bury_pictures, pictures
from lake.tombstones import recent_tombstones
from schemas.dead_letter_share import MIN_ROWS, percent
from schemas.errors import InputUnusable
from schemas.lake import value_counts
from sources.units import Unit, UnitBatch
from transforms.outputs import DEAD_LETTERS, UPLOADED, Parsed
from transforms.per_unit import PerUnit

REASONS: Final = 3
"""How many reasons the message names, the most frequent first."""
WARN_SECONDS: Final = 60.0
"""Between two warnings, so that a flooded stream does not flood the log."""
_WHOLE_FILE = re.compile(r"[a-z]+-00000-[0-9a-f]{32}")
"""The name of a file's first unit; where it has few rows it is the whole file."""

_log = logging.getLogger(__name__)


class MaxDeadLetters(NamedTuple):
    """How many dead letters a unit may have."""

    share: Fraction = Fraction(1)
    """Of its rows; 1 is no limit."""
    stops: bool = True
    """Whether a unit above the limit ends the run; else it is logged and counted (``units_above_max_dead_letters``)."""

    def is_exceeded(self, unit: Unit, rows: int, refused: int) -> bool:
        """Whether ``refused`` of ``rows`` exceed the limit.

        A unit of fewer than :data:`MIN_ROWS` may have as many as one of that size, unless all rows of a file are
        refused.
        """
        if self.share >= 1:
            return False
        if refused > self.share * max(rows, MIN_ROWS):
            return True
        return 0 < rows == refused and _WHOLE_FILE.fullmatch(unit.name) is not None


ANY_NUMBER: Final = MaxDeadLetters()


class _Counts:
    """Rows of a unit so far."""

    def __init__(self) -> None:
        self.part = self.rows = self.refused = 0
        self.reasons: Counter[str] = Counter()

    def add(self, parsed: Parsed) -> None:
        refused = parsed.dead_letters.num_rows
        self.rows += parsed.rows.num_rows + refused
        self.refused += refused
        if refused:
            self.reasons.update(value_counts(parsed.dead_letters["reason"]))


class Parser(PerUnit[_Counts]):
    """Base of the parsers, which turn a unit's batches into rows and dead letters.

    Raises InputUnusable where a unit has more dead letters than the limit. A unit that is written in parts is checked
    at the end of each part, by all rows so far.

    Rows and dead letters that were erased from the lake (:mod:`lake.tombstones`) are dropped; the batch of dead letters
    has their number.

    Args:
        root: the lake; without it nothing is dropped.
    """

    def __init__(self, limit: MaxDeadLetters, root: str | None = None) -> None:
        self._limit = limit
        self._root = root
        self._above = Metrics.counter("rows", "units_above_max_dead_letters")
        self._warned = -WARN_SECONDS

    def parse(self, batch: UnitBatch) -> Parsed:
        """Parse a batch; each of its rows is in one of the two."""
        raise NotImplementedError

    def process(self, batch: UnitBatch) -> Iterator[Any]:
        counts = self.state_of(batch, _Counts())
        if batch.part != counts.part:
            self._check(batch.unit, counts)
            counts.part = batch.part
        parsed = self.parse(batch)
        counts.add(parsed)
        if batch.last:
            self._check(batch.unit, counts)
        rows, letters = (self._not_erased(rows) for rows in parsed)
        erased = parsed.rows.num_rows + parsed.dead_letters.num_rows - rows.num_rows - letters.num_rows
        yield batch.with_rows(rows)
        yield beam.pvalue.TaggedOutput(DEAD_LETTERS, batch.with_rows(letters)._replace(erased=erased))

    def _not_erased(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        if self._root is None or not (tombstones := recent_tombstones(self._root)):
            return rows
        table = pa.Table.from_batches([rows])
        bury_pictures(self._root, tombstones, pictures(tombstones, table))
        erased = tombstones.erased(table)
        if UPLOADED.name in rows.schema.names:
            # The publication erases these, and deletes their objects where no other row names them.
            erased &= ~rows[UPLOADED.name].to_numpy(zero_copy_only=False)
        return rows.filter(pa.array(~erased)) if erased.any() else rows

    def _check(self, unit: Unit, counts: _Counts) -> None:
        if not self._limit.is_exceeded(unit, counts.rows, counts.refused):
            return
        excess = _excess(unit, counts, self._limit.share)
        if self._limit.stops:
            raise InputUnusable(
                f"{excess} Nothing of this unit is in the lake. Is it the right input for the flag (--history, "
                "--messages, --images)? If it is, --max-dead-letters 100% accepts it"
            )
        self._above.inc()
        if time.monotonic() - self._warned >= WARN_SECONDS:
            self._warned = time.monotonic()
            _log.warning("%s It is committed, as dead letters of a topic stop no run", excess, extra=unit.about)


def _excess(unit: Unit, counts: _Counts, share: Fraction) -> str:
    reasons = ", ".join(f"{name} ({n:,})" for name, n in counts.reasons.most_common(REASONS))
    rate = f"{100 * counts.refused / counts.rows:.1f}%"
    return (
        f"unit {unit.name} of {unit.path!r}: {counts.refused:,} of {counts.rows:,} rows ({rate}) are refused, more "
        f"than the {percent(share)} of --max-dead-letters: {reasons}."
    )
