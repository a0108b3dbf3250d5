"""The bench's job in DuckDB: one scan into a table, repairs by joins on distinct values, one sort, a file a month.

``python -m tests.benchmarks.duckdb_job INPUT OUTPUT``

How: the parser fills a table with all cores. The distinct texts of the columns that need repair are asked for, the
rules give small tables, and one query joins them, computes what is left and sorts all rows by branch and time; what can
be had later (instants, lists of repairs, the area) is left out of the sort. Then each month and branch is a range of
row ids, copied to one file in order, two at a time. Memory is held to MEMORY, the rest goes to disk beside the output.

Tried and slower, or wrong: ``row_number() OVER ()`` in the scan, which makes it serial (a table has row ids for
nothing); ``COPY ... PARTITION_BY`` of sorted rows, as fast as the copies here, but its threads append row groups to a
file in any order; a copy a month that sorts each for itself; a preserved scan straight to Parquet.

What is lost compared with the product: with quotes on, DuckDB drops the rows after a stray quote (a fifth of the file).
Quotes are therefore read as ordinary characters and what does not fit goes to the table of rejects:

- a row with a quoted comma keeps its branch, its time and its code; a street is cut off at the comma and keeps its
  quotes, vehicle colour and year come from the column before (DuckDB lets one empty column too many pass);
- a quoted newline makes two dead letters of one row; a row that is too long by empty columns is not noticed;
- text that is no UTF-8 has question marks, and no repair says so; no repair names a stray quote;
- a row's number is that among the rows that were read, dead letters of the wrong width have the line's number;
- dead letters have the text of the row where its width is wrong, else the mandatory columns;
- a file whose lines end in CR LF is refused where a quoted newline is a mere LF (the bench's files end lines in LF).
"""

import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb

from schemas.history import Reason, Repair
from tests.benchmarks import rules

MEMORY = "4GB"
WRITERS = 2
_PARQUET = "FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1"
_LOOKUPS: dict[str, tuple[Callable[[str | None], tuple[Any, ...]], str]] = {
    "violation_time_text": (rules.time_of, "minutes INT, part VARCHAR, time_bits INT, time_reason TINYINT"),
    "issue_date_text": (
        rules.date_of,
        "start BIGINT, before BIGINT, after BIGINT, switch INT, moved INT, month INT, date_bits INT, "
        "date_reason TINYINT",
    ),
    "code": (rules.code_of, "violation_code SMALLINT, code_reason TINYINT"),
    "precinct_text": (rules.number_of, "precinct SMALLINT, precinct_bits INT"),
    "year_text": (rules.number_of, "vehicle_year SMALLINT, year_bits INT"),
    "county_text": (rules.county_of, "county VARCHAR, county_bits INT"),
}
"""For each column with rules the rule and the columns that it gives."""
_LATER = {
    "event_time": "make_timestamptz(second * 1000000)",
    "area": "county",
    "repairs": """CASE WHEN bits = 0 THEN []
        ELSE list_filter({names}, lambda name, place: bits >> (place::INT - 1) & 1 = 1) END""",
}
"""Columns that are made when they are written."""


def main(source: str, output: str) -> None:
    """Run the job."""
    root = Path(output)
    root.mkdir(parents=True, exist_ok=True)
    # Optimistic writes are for tables on disk: without them the scan fills the table in half the time.
    config: dict[str, Any] = {"enable_optimistic_write": False, "memory_limit": MEMORY}
    config["temp_directory"] = str(root / ".spill")
    with duckdb.connect(config=config) as con:
        con.execute("SET TimeZone = 'UTC'")
        con.execute(_scan(source))
        con.execute(_keep_foreign_text(rules.columns_of(source)))
        for column, (rule, columns) in _LOOKUPS.items():
            _make_lookup(con, column, rule, columns)
        con.execute(_sorted_rows())
        _write_months(con, root)
        _copy(con, _COUNTS, root / "stats/source=history/data.parquet")
        _copy(con, _dead_letters(), root / "dead_letters/source=history/data.parquet")


def _scan(source: str) -> str:
    columns = ", ".join(f"{_text(name)}: 'VARCHAR'" for name in rules.columns_of(source))
    return f"""
        CREATE TABLE cells AS SELECT {", ".join([*rules.TEXTS, *rules.INPUTS])} FROM read_csv(
            {_text(source)}, auto_detect = false, header = true, delim = ',', quote = '', escape = '',
            columns = {{{columns}}}, store_rejects = true)"""


def _keep_foreign_text(columns: list[str]) -> str:
    cells = ", ".join(f"nullif(cells[{columns.index(name) + 1}], '')" for name in [*rules.TEXTS, *rules.INPUTS])
    return f"""
        INSERT INTO cells SELECT {cells} FROM (SELECT DISTINCT ON (line) string_split(csv_line, ',') AS cells
        FROM reject_errors WHERE error_type = 'INVALID ENCODING') WHERE len(cells) = {len(columns)}"""


def _make_lookup(
    con: duckdb.DuckDBPyConnection, column: str, rule: Callable[[str | None], tuple[Any, ...]], columns: str
) -> None:
    texts = [text for (text,) in con.execute(f"SELECT DISTINCT {column} FROM cells").fetchall()]
    rows = ", ".join(f"({', '.join(map(_text, (text, *rule(text))))})" for text in texts)
    con.execute(f"CREATE TABLE of_{column} (of_{column} VARCHAR, {columns})")
    con.execute(f"INSERT INTO of_{column} VALUES {rows or '(NULL)'}")


def _sorted_rows() -> str:
    blank = f"plate_id IN ({', '.join(map(_text, rules.BLANKS))})"
    joins = " ".join(f"JOIN of_{column} ON of_{column} IS NOT DISTINCT FROM {column}" for column in _LOOKUPS)
    kept = [name for name in rules.OUTPUT if name not in (*_LATER, "plate_id", "record", "summons_number")]
    return f"""
        CREATE TABLE rows AS
        SELECT cells.rowid AS record, TRY_CAST(summons AS BIGINT) AS summons_number, {", ".join(kept)}, month,
            CASE WHEN {blank} THEN NULL ELSE plate_id END AS plate_id,
            start + minutes * 60 - CASE WHEN minutes < switch THEN before ELSE after END AS second,
            time_bits | date_bits | precinct_bits | year_bits | county_bits
                | CASE WHEN minutes >= switch - 60 AND minutes < switch THEN moved ELSE 0 END
                | CASE WHEN {blank} THEN {rules.bit(Repair.PLATE_BLANK)}
                       WHEN regexp_matches(plate_id, {_text(rules.ODD_PLATE)}) THEN {rules.bit(Repair.PLATE_ODD)}
                       ELSE 0 END AS bits,
            CASE WHEN summons IS NULL THEN {rules.reason_number(Reason.SUMMONS_MISSING)}
                 WHEN summons_number IS NULL THEN {rules.reason_number(Reason.SUMMONS_UNREADABLE)}
                 WHEN code_reason > 0 THEN code_reason WHEN date_reason > 0 THEN date_reason
                 ELSE time_reason END AS reason
        FROM cells {joins}
        ORDER BY reason > 0, violation_code = 0, second"""


def _write_months(con: duckdb.DuckDBPyConnection, root: Path) -> None:
    later = {name: sql.format(names=f"[{', '.join(map(_text, rules.REPAIRS))}]") for name, sql in _LATER.items()}
    columns = ", ".join(f"{later[name]} AS {name}" if name in later else name for name in rules.OUTPUT)
    branches = con.execute("""
        SELECT violation_code = 0, month, count(*), min(rowid) FROM rows WHERE reason = 0 GROUP BY ALL ORDER BY 4""")

    def write(branch: tuple[bool, int, int, int]) -> None:
        unqualified, month, rows, first = branch
        name = f"month={month // 12}-{month % 12 + 1:02d}/data.parquet"
        query = f"SELECT {columns} FROM rows WHERE rowid BETWEEN {first} AND {first + rows - 1}"
        with con.cursor() as cursor:
            _copy(cursor, query, root / ("unqualified" if unqualified else "qualified") / "source=history" / name)

    with ThreadPoolExecutor(WRITERS) as pool:
        _wait(pool.map(write, branches.fetchall()))


_COUNTS = """
    WITH counts AS (
        SELECT second // 3600 * 3600 AS hour, violation_code, county, count(*) AS n
        FROM rows WHERE reason = 0 GROUP BY ALL
    ), hours AS (
        SELECT DISTINCT hour, make_timestamptz(hour * 1000000) AS window_start,
            hour(timezone('America/New_York', window_start)) AS local FROM counts
    )
    SELECT CASE WHEN violation_code > 0 THEN 'qualified' ELSE 'unqualified' END AS dataset,
        window_start, violation_code,
        CASE WHEN local BETWEEN 6 AND 12 THEN 'morning' WHEN local BETWEEN 13 AND 19 THEN 'afternoon' ELSE 'other' END
            AS part_of_day,
        county AS area, n
    FROM counts JOIN hours USING (hour) ORDER BY window_start"""


def _dead_letters() -> str:
    reasons = f"[{', '.join(map(_text, rules.REASONS))}]"
    return f"""
        SELECT record, {reasons}[reason] AS reason, summons, cells.issue_date_text, cells.violation_time_text, code,
            NULL AS row
        FROM rows JOIN cells ON cells.rowid = record WHERE reason > 0
        UNION ALL BY NAME
        SELECT DISTINCT ON (line) line - 2 AS record, csv_line AS row,
            CASE error_type WHEN 'MISSING COLUMNS' THEN '{Reason.CUT_SHORT}' ELSE '{Reason.TOO_LONG}' END AS reason
        FROM reject_errors WHERE error_type <> 'INVALID ENCODING'"""


def _copy(con: duckdb.DuckDBPyConnection, query: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    con.execute(f"COPY ({query}) TO {_text(str(path))} ({_PARQUET})")


def _text(value: str | int | None) -> str:
    """A literal."""
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return "NULL" if value is None else str(value)


def _wait(results: Iterable[None]) -> None:
    for _ in results:
        pass


if __name__ == "__main__":
    main(*sys.argv[1:])
