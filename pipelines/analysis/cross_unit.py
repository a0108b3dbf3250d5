"""Corrections that need all units at once: rows that claim the message_id of another row, and officers' answers to
messages of other units.

DuckDB computes both over the drones' units; the results are counts.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa

from lake.views import Parts, connected, spilling
from pipelines.analysis.results import WITHIN_SECONDS, Officers
from schemas.lake import Dataset
from schemas.messages import UNQUALIFIED

VIOLATIONS = (Dataset.QUALIFIED, Dataset.UNQUALIFIED)

_HIDDEN = f"""
    CREATE TEMP TABLE again AS
    SELECT unit, record FROM hidden WHERE dataset IN ('{Dataset.QUALIFIED}', '{Dataset.UNQUALIFIED}')
"""
_AGAIN = """
    SELECT event_time, violation_code, area, status FROM {dataset}_of_all_units SEMI JOIN again USING (unit, record)
"""
_ANSWERED = f"""
    CREATE TEMP TABLE answered AS
    SELECT code, n - 1 AS later, epoch(answered_at - event_time) AS seconds
    FROM {Dataset.UNQUALIFIED}_of_all_units ANTI JOIN again USING (unit, record)
    JOIN (
        SELECT answers, arg_min(violation_code, (event_time, message_id)) AS code, min(event_time) AS answered_at,
               count(*) AS n
        FROM {Dataset.QUALIFIED}_of_all_units ANTI JOIN again USING (unit, record)
        WHERE status = 'officer' GROUP BY answers
    ) answer ON answer.answers = message_id
    WHERE status <> 'officer'
"""


class AcrossUnits(NamedTuple):
    """The corrections to the counts of the single files."""

    officers: Officers
    codes: dict[int, int]
    """Changes of the counts by code: each answer moves one violation from 0 to its code."""


@contextmanager
def units_together(root: str, parts: Mapping[Dataset, Parts]) -> Iterator["UnitsTogether"]:
    """Queries over all units of a lake.

    Args:
        parts: the files of drones.
    """
    of_units = " ".join(f"{dataset}_of_all_units" for dataset in VIOLATIONS)
    with spilling(connected(root, parts, f"hidden conflicts {of_units}")) as connection:
        connection.execute(_HIDDEN)
        yield UnitsTogether(connection)


class UnitsTogether:
    """Queries over all units of a lake (:func:`units_together`)."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def repeated(self, dataset: Dataset) -> Iterator[pa.RecordBatch]:
        """The rows of a dataset that are not counted because another row with their message_id is: columns
        event_time, violation_code, area, status."""
        yield from self._connection.sql(_AGAIN.format(dataset=dataset)).to_arrow_reader()

    def conflicts(self) -> int:
        """How many rows claim the message_id of another row with other content."""
        found: int = self._rows("SELECT count(*) FROM conflicts")[0][0]
        return found

    def answers(self) -> AcrossUnits:
        """Officers' answers, joined to the violations that they answer."""
        self._connection.execute(_ANSWERED)
        codes: dict[int, int] = dict(self._rows("SELECT code, count(*) FROM answered GROUP BY code"))
        answered = sum(codes.values())
        if not answered:
            return AcrossUnits(Officers(), {})
        numbers = "quantile_cont(seconds, 0.5), quantile_cont(seconds, 0.95), sum(later)::INT"
        p50, p95, later = self._rows(f"SELECT {numbers} FROM answered")[0]
        bins = ", ".join(f"count(*) FILTER (seconds <= {end})" for end in WITHIN_SECONDS)
        up_to = [0, *self._rows(f"SELECT {bins} FROM answered")[0], answered]
        within = tuple(b - a for a, b in pairwise(up_to))
        change = {**codes, UNQUALIFIED: codes.get(UNQUALIFIED, 0) - answered}
        return AcrossUnits(Officers(answered, p50, p95, within, codes, later), change)

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        return self._connection.sql(query).fetchall()
