"""How much of a unit may be refused: what reads payloads stops a run that was given the wrong input.

Each unit is judged alone, by what is counted in its own bundle, before anything of it is written: so the judgement
needs no state, is the same in every attempt and on every runner, and does not depend on what else is read.
"""

import logging
import re
import time
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Final, NamedTuple

import apache_beam as beam
from apache_beam.metrics import Metrics

from schemas.errors import InputUnusable
from sources.units import Unit, UnitBatch
from transforms.outputs import DEAD_LETTERS, Parsed
from transforms.per_unit import PerUnit

DEFAULT_SHARE: Final = Fraction(1, 10)
MIN_ROWS: Final = 1_000
"""A share of fewer rows says little: a smaller unit is judged as if it had so many."""
REASONS: Final = 3
"""That are named, the most frequent ones."""
WARN_SECONDS: Final = 60.0
"""Between two warnings: who floods a stream does not flood the log."""
_WHOLE_FILE = re.compile(r"[a-z]+-00000-[0-9a-f]{32}")
"""The name of a file's first cell; one of few rows is the whole file."""

_log = logging.getLogger(__name__)


class MaxDeadLetters(NamedTuple):
    """How much of a unit may be dead letters."""

    share: Fraction = Fraction(1)
    """Of its rows, at most 1, which nothing exceeds."""
    stops: bool = True
    """Whether a unit above it ends the run; else it is logged, and counted as ``units_above_max_dead_letters``."""

    def is_exceeded(self, unit: Unit, rows: int, refused: int) -> bool:
        """Whether so many refused rows are too many, of so many that were read.

        Of fewer than :data:`MIN_ROWS` as many are let pass as of these, unless they are all of a file.
        """
        if self.share >= 1:
            return False
        if refused > self.share * max(rows, MIN_ROWS):
            return True
        return 0 < rows == refused and _WHOLE_FILE.fullmatch(unit.name) is not None


ANY_NUMBER: Final = MaxDeadLetters()


class _Seen:
    """Of a unit, up to here."""

    def __init__(self) -> None:
        self.part = self.rows = self.refused = 0
        self.reasons: Counter[str] = Counter()

    def add(self, parsed: Parsed) -> None:
        refused = parsed.dead_letters.num_rows
        self.rows += parsed.rows.num_rows + refused
        self.refused += refused
        if refused:
            found = parsed.dead_letters["reason"].value_counts()
            names, counts = found.field("values").to_pylist(), found.field("counts").to_pylist()
            self.reasons.update(dict(zip(names, counts, strict=True)))


class Parser(PerUnit[_Seen]):
    """The base of what makes rows and dead letters of a unit's batches.

    Raises InputUnusable where more of a unit are dead letters than may be. A unit that is written in parts is judged at
    the end of each, by all that was read of it until then.
    """

    def __init__(self, limit: MaxDeadLetters) -> None:
        self._limit = limit
        self._above = Metrics.counter("rows", "units_above_max_dead_letters")
        self._warned = -WARN_SECONDS

    def parse(self, batch: UnitBatch) -> Parsed:
        """Each row of the batch is in one of the two."""
        raise NotImplementedError

    def process(self, batch: UnitBatch) -> Iterator[Any]:
        seen = self.kept(batch, _Seen())
        if batch.part != seen.part:
            self._judge(batch.unit, seen)
            seen.part = batch.part
        parsed = self.parse(batch)
        seen.add(parsed)
        if batch.last:
            self._judge(batch.unit, seen)
        yield batch.with_rows(parsed.rows)
        yield beam.pvalue.TaggedOutput(DEAD_LETTERS, batch.with_rows(parsed.dead_letters))

    def _judge(self, unit: Unit, seen: _Seen) -> None:
        if not self._limit.is_exceeded(unit, seen.rows, seen.refused):
            return
        said = _said(unit, seen, self._limit.share)
        if self._limit.stops:
            raise InputUnusable(
                f"{said} Nothing of this unit is in the lake. Is it the right input for the flag (--history, "
                "--messages, --images)? If it is, --max-dead-letters 100% takes it as it is"
            )
        self._above.inc()
        if time.monotonic() - self._warned >= WARN_SECONDS:
            self._warned = time.monotonic()
            _log.warning("%s It is committed: what comes in a topic stops no run", said)


def _said(unit: Unit, seen: _Seen, share: Fraction) -> str:
    reasons = ", ".join(f"{name} ({n:,})" for name, n in seen.reasons.most_common(REASONS))
    return (
        f"unit {unit.name} of {unit.path!r}: {seen.refused:,} of {seen.rows:,} rows "
        f"({100 * seen.refused / seen.rows:.1f}%) are refused, more than the {percent(share)} of --max-dead-letters: "
        f"{reasons}."
    )


def percent(share: Fraction) -> str:
    """As the flag has it.

    >>> percent(Fraction(1, 10)), percent(Fraction(1, 200))
    ('10%', '0.5%')
    """
    return f"{float(100 * share):g}%"
