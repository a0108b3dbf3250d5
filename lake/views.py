"""The views of a lake: SQL over its published files and its tail."""

import atexit
import re
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.dataset as pads

from lake.copies import IDENTITIES, NO_COPIES, NO_TIMES, copies_view, near, times_of
from lake.files import parquet_dataset
from lake.layout import NEW_YORK, is_history, partitions
from lake.storage import LocalStorage, storage
from lake.tables import form_of
from schemas.history import TIME_ZONE
from schemas.lake import ERASED, LEDGER_ROW, ROWS_OUT, SCHEMAS, UNDONE, Dataset, Source

MEMORY: Final = "1GB"
"""The message_ids of 100 M messages would be 20 GB."""
_MESSAGES = (Dataset.POSITIONS, Dataset.QUALIFIED, Dataset.UNQUALIFIED)


def counted(view: str, stats: str = "stats_of_all_units") -> str:
    """SQL that counts the messages of a view as the statistics of their units do.

    Args:
        stats: the statistics of these units.
    """
    return f"""
    SELECT unit, if(apart AND dataset = 'qualified' AND status = 'officer', 'answers', dataset) AS dataset,
           make_timestamptz(epoch_us(event_time) // size * size) AS window_start, window_seconds,
           violation_code,
           CASE WHEN hour BETWEEN 6 AND 12 THEN 'morning' WHEN hour BETWEEN 13 AND 19 THEN 'afternoon'
                ELSE 'other' END AS part_of_day, area, count(*) AS n
    FROM (
        SELECT *, hour(event_time AT TIME ZONE '{TIME_ZONE}') AS hour FROM {view}
        WHERE dataset IN ({", ".join(f"'{d}'" for d in _MESSAGES)})
    )
    JOIN (
        SELECT unit, window_seconds, window_seconds::BIGINT * 1000000 AS size, bool_or(dataset = 'answers') AS apart
        FROM {stats} GROUP BY ALL
    ) USING (unit) GROUP BY ALL
    """


def quoted(text: str) -> str:
    """A text as SQL has it."""
    return "'" + text.replace("'", "''") + "'"


_KEYS: Final = ", ".join(name for name in SCHEMAS[Dataset.STATS].names if name != "n")
_CONFLICTING: Final = " UNION ALL ".join(
    f"SELECT '{d}' AS dataset, unit, record, message_id, event_time, "
    f"{'NULL' if d == Dataset.POSITIONS else 'violation_code'} AS violation_code, area, status, published_at "
    f"FROM {d} WHERE message_id IS NOT NULL"
    for d in _MESSAGES
)
_MOVED = {
    **{count: (f"target = '{count}'", f"out_of = '{count}'") for count in ROWS_OUT},
    "counted": tuple(f"{end} IN ({', '.join(repr(str(d)) for d in _MESSAGES)})" for end in ("target", "out_of")),
    "rows_in": (f"out_of = '{UNDONE}'", f"target IN ('{UNDONE}', '{ERASED}')"),  # no row came in either
}
"""What moves rows into a count of the ledger, and out of it."""
_LEDGER: Final = {
    "moves": "SELECT m.unit, m.out_of, m.into AS target, m.rows AS n FROM (SELECT unnest(moves) AS m FROM changes)",
    "ledger": f"""
    SELECT l.* REPLACE ({", ".join(f"l.{count} + coalesce(d.{count}, 0)::BIGINT AS {count}" for count in _MOVED)})
    FROM ledger_as_committed l LEFT JOIN (
        SELECT unit, {
        ", ".join(
            f"coalesce(sum(n) FILTER ({into}), 0) - coalesce(sum(n) FILTER ({out_of}), 0) AS {count}"
            for count, (into, out_of) in _MOVED.items()
        )
    }
        FROM moves GROUP BY unit
    ) d USING (unit)
    """,
}
"""The rows of the ledger with the counts as they are after all changes."""
_SQL: Final = {
    **{f"{d}_of_all_units": f"FROM {d}_published UNION ALL FROM {d}_tail" for d in Dataset},
    **{f"{d}_hidden": copies_view(d) for d in IDENTITIES},
    **{f"{d}_shown": f"FROM {d}_tail ANTI JOIN {d}_hidden USING (unit, record)" for d in IDENTITIES},
    **{str(d): f"FROM {d}_published UNION ALL FROM {d}_shown" for d in IDENTITIES},
    str(Dataset.DRONE_EVENTS): f"FROM {Dataset.DRONE_EVENTS}_published UNION ALL FROM {Dataset.DRONE_EVENTS}_tail",
    **_LEDGER,
    "hidden": " UNION ALL ".join(f"FROM {d}_hidden" for d in IDENTITIES),
    "duplicates": "FROM hidden",
    "conflicts": f"""
    FROM ({_CONFLICTING}) SEMI JOIN (
        SELECT hash(message_id) AS h FROM ({_CONFLICTING}) GROUP BY h HAVING count(*) > 1
    ) ON hash(message_id) = h
    QUALIFY count(*) OVER (PARTITION BY message_id) > 1
    """,
    "repeated_summons": """
    SELECT summons_number, count(*) AS times, list({'unit': unit, 'record': record}) AS rows
    FROM (SELECT * FROM qualified UNION ALL SELECT * FROM unqualified)
    WHERE summons_number IS NOT NULL GROUP BY summons_number HAVING count(*) > 1
    """,
    "answers": """
    SELECT answers AS alert_id, message_id, officer_id, violation_code, event_time AS answered_at, published_at,
           CASE WHEN row_number() OVER (PARTITION BY answers ORDER BY event_time, message_id, unit, record) = 1
                THEN 'first' ELSE 'second' END AS counts_as
    FROM qualified WHERE status = 'officer'
    """,
    "alerts": """
    SELECT u.* EXCLUDE (violation_code, answers, officer_id),
           a.message_id IS NOT NULL AS answered, a.message_id AS answer_id, a.violation_code AS answered_code,
           a.officer_id, a.answered_at, epoch(a.answered_at - u.event_time) AS seconds_to_answer
    FROM unqualified u LEFT JOIN answers a ON a.alert_id = u.message_id AND a.counts_as = 'first'
    WHERE u.message_id IS NOT NULL
    """,
    "human_work": f"""
    SELECT day, violation_code, count(*) AS violations, count(*) FILTER (needed) AS needed_officer,
           count(*) FILTER (needed) / count(*) AS share,
           count(*) FILTER (needed AND violation_code IS NULL) AS open,
           quantile_cont(seconds_to_answer, 0.5) AS p50_seconds, quantile_cont(seconds_to_answer, 0.95) AS p95_seconds
    FROM (
        SELECT event_time, violation_code, false AS needed, NULL AS seconds_to_answer
        FROM qualified WHERE message_id IS NOT NULL AND status <> 'officer'
        UNION ALL SELECT event_time, answered_code, true, seconds_to_answer FROM alerts
    ), LATERAL (SELECT (event_time AT TIME ZONE '{TIME_ZONE}')::DATE AS day)
    GROUP BY ALL
    """,
    "hidden_messages": " UNION ALL ".join(f"FROM {d}_hidden" for d in _MESSAGES),
    "hidden_counted": counted("hidden_messages", "stats_tail"),
    "stats": f"""
    FROM stats_published UNION ALL BY NAME
    SELECT {_KEYS}, sum(n)::BIGINT AS n, any_value(source) AS source
    FROM (FROM stats_tail UNION ALL BY NAME SELECT * REPLACE (-n AS n) FROM hidden_counted)
    GROUP BY {_KEYS} HAVING sum(n) <> 0
    """,
}
"""A copy of a message that is in the tables, or comes before it in the tail, is ``hidden``, and taken off the
statistics where its unit has counted it (units of earlier versions counted answers as qualified). Messages with one
message_id and different content are all shown, and named by ``conflicts``. Of several answers to one alert the first
one by its time and then by its id counts; the others are kept, and marked as second."""
_FILES: Final = {f"{d}_{part}": d for d in Dataset for part in ("published", "tail")} | {
    f"{d}_near": d for d in IDENTITIES
}
_HIDDEN: Final = {f"{d}_hidden": d for d in IDENTITIES}
_ROWS: Final = ("ledger_as_committed", "changes")
_WORD: Final = re.compile(r"\w+")
_READ: Final = re.compile(r"\b(?:FROM|JOIN) (\w+)")


def views_of(query: str) -> list[str]:
    """The views that a query may read, and those that they read, in the order of their creation; all of them where it
    names none (``SHOW TABLES``, an empty one)."""
    views: dict[str, None] = {}

    def add(names: Iterable[str]) -> None:
        for name in names:
            if name in views:
                continue
            if name in _SQL:
                add(_READ.findall(_SQL[name]))
            if name in _SQL or name in _FILES or name in _ROWS:
                views[name] = None

    add(_WORD.findall(query.lower()))
    if not views:
        add([*_SQL, *_FILES, *_ROWS])
    return list(views)


class Rows(NamedTuple):
    """The rows of the ledger."""

    folded_units: pads.Dataset
    units: pa.Table
    """Those of units that are not folded."""
    folded_changes: pads.Dataset
    changes: pa.Table


NO_ROWS: Final = Rows(*(pads.dataset(LEDGER_ROW.empty_table()), LEDGER_ROW.empty_table()) * 2)


class Parts(NamedTuple):
    """The files of a dataset; paths are relative to the lake's root."""

    published: list[str]
    """Those whose rows are in the table."""
    tail: list[str]
    """Those of units that are not published yet."""
    known: dict[str, tuple[datetime, datetime]]
    """The first and last time of published files, as far as they are known (:meth:`lake.tables.Table.files`)."""

    def of(self, source: Source) -> "Parts":
        """Those of one source."""
        return self._where(lambda path: f"/source={source}/" in path)

    def since(self, time: datetime) -> "Parts":
        """Those that can have rows since then, of a dataset that is partitioned by month."""
        month = f"{time.astimezone(NEW_YORK):%Y-%m}"
        return self._where(lambda path: path.partition("/month=")[2] >= month)

    def _where(self, holds: Callable[[str], bool]) -> "Parts":
        return Parts(list(filter(holds, self.published)), list(filter(holds, self.tail)), self.known)

    @property
    def with_copies(self) -> list[str]:
        """Those of the tail that can have copies."""
        return [path for path in self.tail if not is_history(path)]

    def __bool__(self) -> bool:
        return bool(self.published or self.tail)


def connected(
    root: str, parts: Mapping[Dataset, Parts], query: str = "", rows: Rows = NO_ROWS
) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection with the views of a lake with these files and rows; its clock is UTC.

    Args:
        query: only the views that it may read are created; "" for all.
    """
    connection = duckdb.connect()
    _open.add(connection)
    # A progress bar would mix with a command's own lines.
    connection.execute("SET parquet_metadata_cache = true; SET TimeZone = 'UTC'; SET enable_progress_bar = false")
    for view in views_of(query):
        if view in _ROWS:
            _register_rows(connection, view, *(rows[:2] if view == "ledger_as_committed" else rows[2:]))
        elif view in _FILES:
            _register_files(connection, root, view, parts[_FILES[view]])
        else:
            no_copies = view in _HIDDEN and not parts[_HIDDEN[view]].with_copies  # nothing to compare
            connection.execute(f"CREATE VIEW {view} AS {NO_COPIES if no_copies else _SQL[view]}")
    return connection


@contextmanager
def spilling(connection: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
    """The connection, which spills to disk beyond MEMORY, and is closed at the end."""
    with TemporaryDirectory(prefix="prestacop-") as folder, connection:
        connection.execute(f"SET memory_limit = '{MEMORY}'; SET temp_directory = {quoted(folder)}")
        yield connection


def with_moves(units: pa.Table, changes: pa.Table) -> pa.Table:
    """Rows of the ledger with the counts as they are after these changes."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        _copy(connection, "ledger_as_committed", units)
        _copy(connection, "changes", changes)
        for name, sql in _LEDGER.items():
            connection.execute(f"CREATE VIEW {name} AS {sql}")
        return connection.sql("FROM ledger ORDER BY unit").to_arrow_table().cast(LEDGER_ROW)


def _register_rows(connection: duckdb.DuckDBPyConnection, view: str, folded: pads.Dataset, recent: pa.Table) -> None:
    connection.register(f"folded_{view}", folded)
    _copy(connection, f"recent_{view}", recent)
    columns = ", ".join(LEDGER_ROW.names)
    connection.execute(
        f"CREATE VIEW {view} AS SELECT {columns} FROM folded_{view} UNION ALL SELECT {columns} FROM recent_{view}"
    )


def _register_files(connection: duckdb.DuckDBPyConnection, root: str, view: str, parts: Parts) -> None:
    """A view of files of a dataset: those of its table, of its tail, or the parts of its table that are near its tail
    in time."""
    dataset, part = _FILES[view], view.rpartition("_")[2]
    if part == "near":
        if live := parts.with_copies:
            others = [path for path in parts.published if not is_history(path)]
            times = times_of(root, dataset, live) if others else NO_TIMES
            connection.register(view, near(root, dataset, others, times, parts.known))
        return
    store, paths = storage(root), parts.published if part == "published" else parts.tail
    if paths and (not isinstance(store, LocalStorage) or any(c in store.base for c in "*?[=")):
        # DuckDB's reader of buckets is an extension that it would download, and it takes such names for patterns and
        # directories above the lake for partitions.
        connection.register(view, parquet_dataset(root, dataset, paths))
        return
    names = ", ".join(quoted(store.full(path)) for path in paths)
    types = ", ".join(f"'{name}': VARCHAR" for name in partitions(dataset))
    read = f"read_parquet([{names}], hive_partitioning = true, hive_types = {{{types}}}, union_by_name = true)"
    sql = _no_rows(form_of(dataset).schema) + (f" UNION ALL BY NAME FROM {read}" if paths else "")
    connection.execute(f"CREATE VIEW {view} AS {sql}")


@cache
def _no_rows(schema: pa.Schema) -> str:
    """SQL that gives no row, with all columns of a dataset: files of earlier versions have fewer."""
    with duckdb.connect() as connection:
        types = connection.from_arrow(schema.empty_table()).types
    columns = (f'NULL::{type_} AS "{name}"' for name, type_ in zip(schema.names, types, strict=True))
    return f"SELECT {', '.join(columns)} WHERE false"


_open: "weakref.WeakSet[duckdb.DuckDBPyConnection]" = weakref.WeakSet()


@atexit.register
def _close() -> None:
    # An unfinished scan of a pyarrow dataset would go on while the interpreter shuts down, and crash.
    for connection in list(_open):
        connection.close()


def _copy(connection: duckdb.DuckDBPyConnection, name: str, table: pa.Table) -> None:
    # A registered table whose scan is cut short (LIMIT, an empty side of a join) can abort the process at its end.
    connection.register(f"{name}_to_copy", table)
    connection.execute(f"CREATE TABLE {name} AS SELECT * FROM {name}_to_copy")
    connection.unregister(f"{name}_to_copy")
