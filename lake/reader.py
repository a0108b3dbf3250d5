"""Read the lake through its ledger: units are visible atomically, messages exactly once."""

import atexit
import shlex
import weakref
from collections.abc import Iterable
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from lake.changes import live_files, merged_ledger, moved, read_changes, replaced_by
from lake.layout import partitions
from lake.ledger import read_ledger
from lake.storage import LocalStorage, storage
from schemas.errors import InputUnusable
from schemas.history import TIME_ZONE
from schemas.lake import CONTENT, SCHEMAS, Dataset

MANY = 100
"""Datasets with more files are read by pyarrow: faster than by DuckDB, and in less memory."""
_MESSAGES = (Dataset.POSITIONS, Dataset.QUALIFIED, Dataset.UNQUALIFIED)


def _rows(*columns: str) -> str:
    """The rows of all messages, with the name of their dataset; a column that a dataset does not have is null."""
    return " UNION ALL ".join(
        f"SELECT '{d}' AS dataset, {', '.join(c if c in SCHEMAS[d].names else f'NULL AS {c}' for c in columns)} "
        f"FROM {d}_of_all_units WHERE message_id IS NOT NULL"
        for d in _MESSAGES
    )


_ORDER = "ORDER BY status IS DISTINCT FROM 'officer', published_at NULLS LAST, unit, record"
"""Of the rows with one message_id the first one counts: an officer's answer, whose signature was verified, before what
anybody can send; then what was published first."""
_SHOWN = ("unit", "record", "message_id", "event_time", "violation_code", "area", "status")
_SEVERAL = f"""
    SEMI JOIN (
        SELECT hash(message_id) AS h FROM ({_rows("message_id")}) GROUP BY h HAVING count(*) > 1
    ) ON hash(message_id) = h
"""


def counted(view: str) -> str:
    """SQL that counts the rows of a view as the statistics of their units do."""
    return f"""
    SELECT unit, if(apart AND dataset = 'qualified' AND status = 'officer', 'answers', dataset) AS dataset,
           make_timestamptz(epoch_us(event_time) // size * size) AS window_start, window_seconds,
           violation_code,
           CASE WHEN hour BETWEEN 6 AND 12 THEN 'morning' WHEN hour BETWEEN 13 AND 19 THEN 'afternoon'
                ELSE 'other' END AS part_of_day, area, count(*) AS n
    FROM (SELECT *, hour(event_time AT TIME ZONE '{TIME_ZONE}') AS hour FROM {view})
    JOIN (
        SELECT unit, window_seconds, window_seconds::BIGINT * 1000000 AS size, bool_or(dataset = 'answers') AS apart
        FROM stats_of_all_units GROUP BY ALL
    ) USING (unit) GROUP BY ALL
    """


_VIEWS = f"""
CREATE VIEW hidden AS
    SELECT dataset, {", ".join(_SHOWN)} FROM ({_rows(*_SHOWN, "published_at")})
    QUALIFY row_number() OVER (PARTITION BY message_id {_ORDER}) > 1;
CREATE VIEW claimed AS
    SELECT dataset, {", ".join(_SHOWN)}, published_at,
           row_number() OVER (PARTITION BY message_id, dataset, {", ".join(CONTENT)} {_ORDER}) AS copy,
           first_value({{'dataset': dataset, 'unit': unit, 'record': record}})
               OVER (PARTITION BY message_id {_ORDER}) AS counts
    FROM ({_rows("unit", "record", "area", "published_at", *CONTENT)}) {_SEVERAL};
CREATE VIEW duplicates AS
    SELECT dataset, {", ".join(_SHOWN)} FROM claimed WHERE copy > 1;
CREATE VIEW conflicts AS
    SELECT * EXCLUDE (copy, counts), counts.dataset AS counts_dataset, counts.unit AS counts_unit,
           counts.record AS counts_record
    FROM claimed WHERE copy = 1 AND (unit, record) <> (counts.unit, counts.record);

{
    "".join(
        f"CREATE VIEW {d} AS SELECT * FROM {d}_of_all_units ANTI JOIN hidden USING (unit, record);" for d in _MESSAGES
    )
}
CREATE VIEW repeated_summons AS
    SELECT summons_number, count(*) AS times, list({{'unit': unit, 'record': record}}) AS rows
    FROM (SELECT * FROM qualified UNION ALL SELECT * FROM unqualified)
    WHERE summons_number IS NOT NULL GROUP BY summons_number HAVING count(*) > 1;
CREATE VIEW dead_letters AS
    SELECT * FROM dead_letters_of_all_units
    QUALIFY source_id IS NULL OR row_number() OVER (PARTITION BY path, source_id ORDER BY unit, record) = 1;
CREATE VIEW images AS SELECT * FROM images_of_all_units;

CREATE VIEW answers AS
    SELECT answers AS alert_id, message_id, officer_id, violation_code, event_time AS answered_at, published_at,
           CASE WHEN row_number() OVER (PARTITION BY answers ORDER BY event_time, message_id) = 1
                THEN 'first' ELSE 'second' END AS counts_as
    FROM qualified WHERE status = 'officer';
CREATE VIEW alerts AS
    SELECT u.* EXCLUDE (violation_code, answers, officer_id),
           a.message_id IS NOT NULL AS answered, a.message_id AS answer_id, a.violation_code AS answered_code,
           a.officer_id, a.answered_at, epoch(a.answered_at - u.event_time) AS seconds_to_answer
    FROM unqualified u LEFT JOIN answers a ON a.alert_id = u.message_id AND a.counts_as = 'first'
    WHERE u.message_id IS NOT NULL;
CREATE VIEW human_work AS
    SELECT day, violation_code, count(*) AS violations, count(*) FILTER (needed) AS needed_officer,
           count(*) FILTER (needed) / count(*) AS share,
           count(*) FILTER (needed AND violation_code IS NULL) AS open,
           quantile_cont(seconds_to_answer, 0.5) AS p50_seconds, quantile_cont(seconds_to_answer, 0.95) AS p95_seconds
    FROM (
        SELECT event_time, violation_code, false AS needed, NULL AS seconds_to_answer
        FROM qualified WHERE message_id IS NOT NULL AND status <> 'officer'
        UNION ALL SELECT event_time, answered_code, true, seconds_to_answer FROM alerts
    ), LATERAL (SELECT (event_time AT TIME ZONE '{TIME_ZONE}')::DATE AS day)
    GROUP BY ALL;
CREATE VIEW hidden_counted AS {counted("hidden")};
CREATE VIEW duplicates_counted AS {counted("duplicates")};

CREATE VIEW stats AS
    SELECT dataset, window_start, window_seconds, violation_code, part_of_day, area, sum(n)::BIGINT AS n
    FROM (
        SELECT dataset, window_start, window_seconds, violation_code, part_of_day, area, n FROM stats_of_all_units
        UNION ALL
        SELECT dataset, window_start, window_seconds, violation_code, part_of_day, area, -n FROM hidden_counted
    )
    GROUP BY ALL HAVING sum(n) <> 0;
"""
"""Of the rows that claim one message_id one is counted and shown. The others, ``hidden``, are ``duplicates`` of it or
of each other, which a compaction removes, or ``conflicts``, the first of each other content, which stay. A payload that
nobody can read is known by the name that Pub/Sub gave it. Of several answers to one alert the first one by its time and
then by its id counts; the others are kept, and marked as second. What is taken off the statistics is taken off where
its unit has counted it: units of earlier versions counted answers as qualified."""


class LakeFile(NamedTuple):
    """A file of the lake, its path below the root."""

    dataset: str
    source: str
    path: str
    rows: int
    bytes: int
    sha256: str | None
    """None of a file of an earlier version."""


class Lake:
    """A lake at a directory or ``s3://`` URL: a snapshot of its ledger.

    Args:
        units: the names of all units to read, of some sources; others are ignored.
        changes: the number of changes to apply; later ones are ignored.
    """

    def __init__(self, root: str, units: Iterable[str] | None = None, changes: int | None = None) -> None:
        self.root = root
        known, ledger = _opened(root)
        self.changes = known.slice(0, changes)
        """One row a change of files (:mod:`lake.changes`), in their order."""
        if units is not None:
            ledger = ledger.filter(pc.is_in(ledger["unit"], value_set=pa.array(units, pa.string())))
        self.as_committed = ledger
        """The rows of the ledger as the units wrote them."""
        self.ledger = moved(ledger, self.changes)
        """One row a committed unit (:data:`schemas.lake.LEDGER_ROW`): its counts as they are now, its ``files`` as it
        wrote them."""
        replaced = replaced_by(self.changes)
        self.replaced = frozenset(replaced.to_pylist())
        """The paths of replaced files."""
        files = live_files((ledger, self.changes), replaced)
        self._files = files if units is None else files.filter(pc.is_in(files["source"], value_set=ledger["source"]))

    def entries(self, *datasets: Dataset) -> list[LakeFile]:
        """The committed files of some datasets."""
        wanted = self._files.filter(pc.is_in(self._files["dataset"], value_set=pa.array(map(str, datasets))))
        return [LakeFile(**row) for row in wanted.to_pylist()]

    def files(self, dataset: Dataset) -> list[str]:
        """The paths below the root of the dataset's committed files."""
        return [file.path for file in self.entries(dataset)]

    def dataset(self, dataset: Dataset) -> pads.Dataset:
        """The committed files as a pyarrow dataset, partitions as columns; with the duplicates of messages across
        units."""
        store = storage(self.root)
        columns = pa.schema([(name, pa.string()) for name in partitions(dataset)])
        partitioning = pads.partitioning(columns, flavor="hive")
        schema = pa.unify_schemas([SCHEMAS[dataset], columns])
        paths = [store.full(path) for path in self.files(dataset)]
        if not paths:
            return pads.dataset(schema.empty_table())
        return pads.dataset(
            paths,
            schema=schema,
            format="parquet",
            filesystem=store.filesystem,
            partitioning=partitioning,
            partition_base_dir=store.base,
        )

    def connect(self) -> duckdb.DuckDBPyConnection:
        """A DuckDB connection with views of datasets, ``ledger``, ``changes``, ``duplicates`` and ``conflicts``; its
        clock is UTC."""
        connection = duckdb.connect()
        _open.add(connection)
        connection.execute("SET parquet_metadata_cache = true")
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET enable_progress_bar = false")  # it would mix with a command's own lines
        _copy(connection, "ledger", self.ledger)
        _copy(connection, "changes", self.changes)
        for dataset in Dataset:
            self._register(connection, dataset)
        connection.execute(_VIEWS)
        return connection

    def sql(self, query: str, parameters: Iterable[Any] = ()) -> pa.Table:
        """The answer of a DuckDB query over the views."""
        with self.connect() as connection:
            return connection.sql(query, params=list(parameters)).to_arrow_table()

    def _register(self, connection: duckdb.DuckDBPyConnection, dataset: Dataset) -> None:
        view = f"{dataset}_of_all_units"
        store = storage(self.root)
        files = self.files(dataset)
        if not files:
            _copy(connection, view, self.dataset(dataset).to_table())
            return
        if not isinstance(store, LocalStorage) or any(c in store.base for c in "*?[=") or len(files) > MANY:
            # DuckDB's S3 reader is an extension that it would download, and it takes such names for patterns and
            # directories above the lake for partitions. It opens each file for each view, and keeps it open.
            connection.register(view, self.dataset(dataset))
            return
        names = ", ".join("'" + store.full(path).replace("'", "''") + "'" for path in files)
        columns = partitions(dataset)
        types = ", ".join(f"'{name}': VARCHAR" for name in columns)
        # Files of earlier versions have fewer columns.
        _copy(connection, f"no_{dataset}", _plain(SCHEMAS[dataset]).empty_table())
        connection.execute(
            f"CREATE VIEW {view} AS SELECT * EXCLUDE ({', '.join(columns)}), {', '.join(columns)} FROM "
            f"(FROM no_{dataset} UNION ALL BY NAME FROM read_parquet([{names}], hive_partitioning = true, "
            f"hive_types = {{{types}}}, union_by_name = true))"
        )


def _opened(root: str) -> tuple[pa.Table, pa.Table]:
    """The changes, and the ledger, which is read after them."""
    while True:
        changes = read_changes(root)
        try:
            return changes, read_ledger(root, merged_ledger(changes))
        except FileNotFoundError:
            # A vacuum removes the merged rows that a later change has replaced.
            if read_changes(root).num_rows == changes.num_rows:
                raise


_open: "weakref.WeakSet[duckdb.DuckDBPyConnection]" = weakref.WeakSet()


@atexit.register
def _close() -> None:
    # An unfinished scan of a pyarrow dataset would go on while the interpreter shuts down, and crash.
    for connection in list(_open):
        connection.close()


def _plain(schema: pa.Schema) -> pa.Schema:
    """The schema with strings in place of dictionaries, which DuckDB would map to enums."""
    return pa.schema([f.with_type(pa.string()) if pa.types.is_dictionary(f.type) else f for f in schema])


def _copy(connection: duckdb.DuckDBPyConnection, name: str, table: pa.Table) -> None:
    # A registered table whose scan is cut short (LIMIT, an empty side of a join) can abort the process at its end.
    connection.register(f"{name}_to_copy", table)
    connection.execute(f"CREATE TABLE {name} AS SELECT * FROM {name}_to_copy")
    connection.unregister(f"{name}_to_copy")


def lake(root: str) -> Lake:
    """Open the lake at a directory or ``s3://BUCKET/PREFIX``."""
    return Lake(root)


def filled_lake(root: str, changes: int | None = None) -> Lake:
    """Open a lake, optionally as it was after so many changes. Raises InputUnusable where no unit is committed."""
    lk = Lake(root, changes=changes)
    if not lk.ledger.num_rows:
        raise no_lake(root)
    return lk


def no_lake(root: str) -> InputUnusable:
    """The error of every command that reads a lake."""
    how = f"prestacop run --history GLOB --lake {shlex.quote(root)}"
    return InputUnusable(f"no lake at {root} (the ledger is empty); fill it first: {how}")
