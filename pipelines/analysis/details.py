"""Streets, precincts, vehicles, states, makes, agencies, the week of each code, and what is unusual, of one source.

What is counted here has many distinct values, so DuckDB counts it, over the files of the source, and beyond a gigabyte
on disk: spellings of streets and vehicles are never all in memory.
"""

import gzip
import math
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa
from duckdb.func import PythonUDFType

from lake.views import Parts, connected, quoted, spilling
from pipelines.analysis.results import (
    GAP_DAYS,
    HOURS,
    OTHER,
    OTHER_CODES,
    UNUSUAL_FROM,
    WEEKDAYS,
    Cube,
    CubePlace,
    Details,
    Folding,
    Group,
    Groups,
    Streets,
    Unusual,
    UnusualMonth,
    Vehicle,
    Vehicles,
)
from pipelines.analysis.streets import fold
from pipelines.violations.summary import visible
from schemas.history import TIME_ZONE
from schemas.lake import Dataset, Source
from schemas.messages import UNQUALIFIED

TOP_STREETS = 20
TOP_CODES = 10
TOP_GROUPS = 12
TOP_VEHICLES = 10
TOP_UNUSUAL = 20
FEWEST_PAST_MONTHS = 6
COVERED = 1 / 20
"""A month with a smaller part of the violations of the largest month is not compared: wrong dates make such months."""
MAD_TO_SIGMA = 1.4826
STEPS = 9
"""Queries over all violations beside those of vehicles, for the progress bar."""
PASS_ROWS = 4_000_000
"""Violations whose vehicles are counted at once, in memory: what DuckDB spills of them takes many times as long."""
MOST_PLACES, MOST_CODES, MOST_MONTHS = 120, 30, 36
"""Of a cube: the rarer places and codes are folded; more months than these are folded to years. So the page has at most
three million counts of a source, which are a few megabytes where all of them are there."""
GZIP_LEVEL = 6
MASK = "•"
_SHOWN_OF_PLATE = 2
_HOUR: Final = 3_600_000_000
_SEPARATOR: Final = "\x1f"

_COLUMNS: Final = (
    "county::VARCHAR AS county, area::VARCHAR AS area, street, precinct, plate_id, "
    "registration_state::VARCHAR AS state, vehicle_make::VARCHAR AS make, agency::VARCHAR AS agency"
)
_VIOLATIONS: Final = f"""
    CREATE TEMP VIEW violations AS
    SELECT *, floor(epoch_us(event_time) / {_HOUR})::BIGINT AS h FROM (
        SELECT event_time, violation_code, {_COLUMNS} FROM {Dataset.QUALIFIED} WHERE status IS DISTINCT FROM 'officer'
        UNION ALL
        SELECT event_time, coalesce(code, violation_code), {_COLUMNS} FROM {Dataset.UNQUALIFIED} LEFT JOIN (
            SELECT answers AS message_id, arg_min(violation_code, (event_time, message_id)) AS code
            FROM {Dataset.QUALIFIED} WHERE status = 'officer' GROUP BY answers
        ) USING (message_id)
        WHERE status IS DISTINCT FROM 'officer'
    )
"""
# New York's clock differs from UTC by whole hours: only the distinct hours need its rules, not the rows.
_HOURS: Final = f"""
    CREATE TEMP TABLE hours AS
    SELECT h, strftime(local, '%Y-%m') AS month, strftime(local, '%Y-%m-%d') AS day, hour(local) AS hour,
           (isodow(local) - 1) * {HOURS} + hour(local) AS week
    FROM (SELECT h, make_timestamptz(h * {_HOUR}) AT TIME ZONE '{TIME_ZONE}' AS local
          FROM (SELECT DISTINCT h FROM violations))
"""
_SPELLINGS: Final = f"""
    CREATE TEMP TABLE spellings AS
    SELECT county, street, count(*) AS n FROM violations WHERE street IS NOT NULL GROUP BY ALL;
    CREATE TEMP TABLE folds AS
    SELECT street, words[1] AS name, words[2:] AS rules
    FROM (SELECT street, string_split(fold(street), '{_SEPARATOR}') AS words
          FROM (SELECT DISTINCT street FROM spellings));
    CREATE TEMP TABLE top_streets AS
    SELECT row_number() OVER (ORDER BY sum(n) DESC, name, county) AS place, county, name, sum(n)::BIGINT AS n
    FROM spellings JOIN folds USING (street) GROUP BY county, name
    QUALIFY place <= {TOP_STREETS};
    CREATE TEMP TABLE top_spellings AS
    SELECT street, county, place FROM folds JOIN top_streets USING (name);
"""
_RULES: Final = """
    SELECT rule, count(*), sum(n)::BIGINT, arg_max(street, (n, street)), arg_max(name, (n, street))
    FROM (SELECT street, name, n, unnest(rules) AS rule
          FROM (SELECT street, sum(n) AS n FROM spellings GROUP BY street) JOIN folds USING (street))
    GROUP BY rule ORDER BY 2 DESC, rule
"""
_OF_STREETS: Final = """
    CREATE TEMP TABLE of_streets AS
    SELECT place, month, hour, count(*) AS n
    FROM violations JOIN top_spellings
      ON violations.street = top_spellings.street AND violations.county IS NOT DISTINCT FROM top_spellings.county
    JOIN hours USING (h) GROUP BY ALL
"""
_OF_PRECINCTS: Final = """
    CREATE TEMP TABLE of_precincts AS
    SELECT precinct AS place, month, hour, count(*) AS n FROM violations JOIN hours USING (h)
    WHERE precinct IS NOT NULL GROUP BY ALL
"""
_WITH_PLATE: Final = "SELECT state, plate_id, epoch_us(event_time) AS t FROM violations WHERE plate_id IS NOT NULL"
_SEEN: Final = "CREATE OR REPLACE TEMP TABLE seen AS "
_VEHICLES: Final = """
    CREATE OR REPLACE TEMP TABLE vehicles AS
    SELECT state, plate_id, count(*) AS n, max(t) - min(t) AS us FROM seen GROUP BY ALL
"""
_GAPS: Final = f"""
    SELECT gap, count(*) FROM (
        SELECT (t - lag(t) OVER (PARTITION BY state, plate_id ORDER BY t)) // {_HOUR} AS gap
        FROM seen SEMI JOIN (FROM vehicles WHERE n > 1) USING (plate_id)
    ) WHERE gap IS NOT NULL GROUP BY gap
"""
_TOP_VEHICLES: Final = f"ORDER BY n DESC, coalesce(state, ''), plate_id LIMIT {TOP_VEHICLES}"


def details(
    root: str,
    source: str,
    parts: Mapping[Dataset, Parts],
    show_plates: bool = False,
    advance: Callable[[float], None] = lambda _: None,
) -> Details:
    """The answers to questions 6 to 10.

    Args:
        parts: the files of this source.
        show_plates: whether plates are whole; else all but their last characters are masked.
        advance: is called with the share of the work that is done, after each step.
    """
    with spilling(connected(root, parts, f"{Dataset.QUALIFIED} {Dataset.UNQUALIFIED}")) as connection:
        connection.execute("SET preserve_insertion_order = false")
        connection.create_function("fold", _fold_column, ["varchar"], "varchar", type=PythonUDFType.ARROW)
        connection.execute(_VIOLATIONS)
        connection.execute(_HOURS)
        found = _Counts(connection, advance)
        precincts = found.precincts()
        far = unusual(found.days(), {group.name: group.months for group in precincts})
        return Details(
            source=source,
            streets=found.streets(),
            precincts=precincts,
            vehicles=found.vehicles(show_plates),
            states=found.groups("state"),
            makes=found.groups("make"),
            agencies=found.groups("agency"),
            weeks=found.weeks(),
            unusual=far,
            cube=found.cube("area" if source == Source.DRONES else "precinct", far.covered),
        )


def _fold_column(spellings: pa.Array) -> pa.Array:
    folded = (fold(text) for text in spellings.to_pylist())
    return pa.array([_SEPARATOR.join((name, *rules)) for name, rules in folded], pa.string())


class _Counts:
    """Queries over the violations of one source."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, advance: Callable[[float], None]) -> None:
        self._connection = connection
        self._advance = advance
        self._with_plate, self._without_plate = self._rows(
            "SELECT count(plate_id), count(*) - count(plate_id) FROM violations"
        )[0]
        self._parts = max(1, math.ceil(self._with_plate / PASS_ROWS))
        self._steps_done = 0

    def _step(self) -> None:
        """A step is done."""
        self._steps_done += 1
        self._advance(self._steps_done / (STEPS + self._parts))

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        return self._connection.sql(query).fetchall()

    def streets(self) -> Streets:
        self._connection.execute(_SPELLINGS)
        self._step()
        self._connection.execute(_OF_STREETS)
        self._step()
        spellings, names, given = self._rows(
            "SELECT count(DISTINCT street), count(DISTINCT name), coalesce(sum(n), 0)::BIGINT "
            "FROM spellings JOIN folds USING (street)"
        )[0]
        top = {
            place: Group(_visible(name), n, _visible(county or ""))
            for place, county, name, n in self._rows("FROM top_streets ORDER BY place")
        }
        rules = tuple(
            Folding(rule, changed, n, _visible(example), _visible(street))
            for rule, changed, n, example, street in self._rows(_RULES)
        )
        return Streets(given, spellings, names, tuple(self._with_times(top, "of_streets")), rules)

    def precincts(self) -> tuple[Group, ...]:
        self._connection.execute(_OF_PRECINCTS)
        self._step()
        found = self._rows("SELECT place, sum(n)::BIGINT AS n FROM of_precincts GROUP BY place ORDER BY n DESC, place")
        return tuple(self._with_times({place: Group(str(place), n) for place, n in found}, "of_precincts"))

    def _with_times(self, groups: Mapping[int, Group], table: str) -> Iterator[Group]:
        """The groups with their hours of the day and months."""
        hours: dict[int, list[int]] = {place: [0] * HOURS for place in groups}
        for place, hour, n in self._rows(f"SELECT place, hour, sum(n)::BIGINT FROM {table} GROUP BY ALL"):
            hours[place][hour] = n
        months: dict[int, dict[str, int]] = {place: {} for place in groups}
        for place, month, n in self._rows(
            f"SELECT place, month, sum(n)::BIGINT FROM {table} GROUP BY ALL ORDER BY ALL"
        ):
            months[place][month] = n
        for place, group in groups.items():
            yield Group(group.name, group.n, group.county, tuple(hours[place]), months[place])

    def groups(self, column: str) -> Groups:
        rows = self._rows(f"SELECT coalesce({column}, '') AS name, count(*) AS n FROM violations GROUP BY ALL")
        self._step()
        given = sorted((row for row in rows if row[0]), key=lambda row: (-row[1], row[0]))
        top = tuple(Group(_visible(name), n) for name, n in given[:TOP_GROUPS])
        return Groups(sum(n for _, n in given), len(given), top)

    def weeks(self) -> dict[int, tuple[int, ...]]:
        rows = self._rows(
            "SELECT violation_code, week, count(*) FROM violations JOIN hours USING (h) "
            f"WHERE violation_code <> {UNQUALIFIED} GROUP BY ALL ORDER BY ALL"
        )
        self._step()
        weeks: dict[int, list[int]] = {}
        for code, hour, n in rows:
            weeks.setdefault(code, [0] * (len(WEEKDAYS) * HOURS))[hour] = n
        ranked = sorted(weeks.items(), key=lambda item: (-sum(item[1]), item[0]))
        return {code: tuple(week) for code, week in ranked[:TOP_CODES]}

    def cube(self, place: str, covered: Sequence[str]) -> Cube:
        """The counts that the page filters.

        Args:
            place: the column that has the places; drones have cells and no counties.
            covered: the months with enough violations to be compared.
        """
        length = len("YYYY-MM") if len(covered) <= MOST_MONTHS else len("YYYY")
        county = "NULL::VARCHAR" if place == "area" else "county"
        self._connection.execute(f"""
            CREATE TEMP TABLE cube_places AS
            SELECT county, place, row_number() OVER (ORDER BY n DESC, county, place) - 1 AS number
            FROM (SELECT {county} AS county, {place} AS place, count(*) AS n FROM violations GROUP BY ALL)
            QUALIFY number < {MOST_PLACES}
        """)
        self._connection.execute(f"""
            CREATE TEMP TABLE cube_codes AS
            SELECT violation_code, row_number() OVER (ORDER BY n DESC, violation_code) - 1 AS number
            FROM (SELECT violation_code, count(*) AS n FROM violations GROUP BY ALL) QUALIFY number < {MOST_CODES}
        """)
        self._connection.execute(
            f"""
            CREATE TEMP TABLE cube_months AS
            SELECT month, row_number() OVER (ORDER BY month) - 1 AS number
            FROM (SELECT DISTINCT month[:{length}] AS month FROM hours WHERE list_contains($covered, month))
        """,
            {"covered": list(covered)},
        )
        places, codes, months = (
            [row[:-1] for row in self._rows(f"FROM cube_{table} ORDER BY number")]
            for table in ("places", "codes", "months")
        )
        # The last one of each is that of all others.
        shape = len(places) + 1, len(codes) + 1, len(months) + 1, HOURS
        cells = self._connection.sql(f"""
            SELECT ((coalesce(p.number, {len(places)}) * {shape[1]} + coalesce(c.number, {len(codes)})) * {shape[2]}
                    + coalesce(m.number, {len(months)})) * {HOURS} + hour AS cell, count(*) AS n
            FROM violations v JOIN hours USING (h)
            LEFT JOIN cube_places p ON v.{place} IS NOT DISTINCT FROM p.place
                AND {"p.county IS NULL" if place == "area" else "v.county IS NOT DISTINCT FROM p.county"}
            LEFT JOIN cube_codes c USING (violation_code)
            LEFT JOIN cube_months m ON hours.month[:{length}] = m.month
            GROUP BY cell
        """).to_arrow_table()
        self._step()
        counts = np.zeros(math.prod(shape), "<u4")
        counts[cells["cell"].to_numpy()] = cells["n"].to_numpy()
        return Cube(
            places=(*(CubePlace(county or "", _text(place)) for county, place in places), CubePlace("", OTHER)),
            codes=(*(code for (code,) in codes), OTHER_CODES),
            months=(*(month for (month,) in months), OTHER),
            counts=gzip.compress(counts.view("u1").reshape(-1, counts.itemsize).T.tobytes(), GZIP_LEVEL, mtime=0),
        )

    def days(self) -> dict[str, int]:
        days = self._rows("SELECT day, count(*) FROM violations JOIN hours USING (h) GROUP BY day ORDER BY day")
        self._step()
        return dict(days)

    def vehicles(self, show_plates: bool) -> Vehicles:
        tickets, gaps, top = Counter[int](), Counter[int](), list[tuple[Any, ...]]()
        for part in self._parts_by_plate():
            self._connection.execute(_SEEN + part)
            self._connection.execute(_VEHICLES)
            tickets.update(dict(self._rows("SELECT n, count(*) FROM vehicles GROUP BY n")))
            gaps.update(dict(self._rows(_GAPS)))
            top += self._rows(f"SELECT n, state, plate_id, us / 1e6 FROM vehicles {_TOP_VEHICLES}")
            self._step()
        top.sort(key=lambda row: (-row[0], row[1] or "", row[2]))
        bins = [0] * (len(GAP_DAYS) + 1)
        for hours, n in gaps.items():
            bins[sum(hours >= 24 * days for days in GAP_DAYS)] += n
        return Vehicles(
            without_plate=self._without_plate,
            tickets=dict(sorted(tickets.items())),
            again=tuple(bins),
            p50_gap_days=_weighted_median(sorted(gaps.items())) / 24 if gaps else None,
            top=tuple(
                Vehicle(_visible(state or ""), _visible(plate if show_plates else masked(plate)), n, seconds / 86_400)
                for n, state, plate, seconds in top[:TOP_VEHICLES]
            ),
        )

    def _parts_by_plate(self) -> Iterator[str]:
        """Queries of the rows with a plate, all those of a plate in one of them; more than one part are written to
        temporary files first, so that each row is read from the lake once."""
        if self._parts == 1:
            yield _WITH_PLATE
            return
        folder = Path(self._rows("SELECT current_setting('temp_directory')")[0][0], "plates")
        self._connection.execute(f"""
            COPY (SELECT *, hash(plate_id) % {self._parts} AS part FROM ({_WITH_PLATE}))
            TO {quoted(str(folder))} (FORMAT parquet, PARTITION_BY (part))
        """)
        for part in sorted(folder.iterdir()):
            yield f"SELECT state, plate_id, t FROM read_parquet({quoted(f'{part}/*')}, hive_partitioning = false)"
            shutil.rmtree(part)


def masked(plate: str) -> str:
    """A plate with all but its last characters masked.

    >>> masked("ABC1234")
    '•••••34'
    """
    shown = plate[-_SHOWN_OF_PLATE:] if len(plate) > 2 * _SHOWN_OF_PLATE else ""
    return MASK * (len(plate) - len(shown)) + shown


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _visible(text: str) -> str:
    return visible(text.encode())


def _weighted_median(counts: list[tuple[int, int]]) -> int:
    """Of values in order, each with how often it is there; the lower one of two in the middle."""
    half, passed = (sum(n for _, n in counts) + 1) // 2, 0
    for value, n in counts:
        passed += n
        if passed >= half:
            return value
    raise AssertionError("no values")


def unusual(days: Mapping[str, int], precincts: Mapping[str, Mapping[str, int]]) -> Unusual:
    """The months in which all violations, or a precinct's share of them, are far from their past.

    A month of all violations is compared by its violations a day, of the days that have any; a month of a precinct by
    its share of all violations, so that a month that is unusual everywhere is named once. What is expected is the
    median of the earlier months. Its spread is their MAD times 1.4826, but at least the square root of what is
    expected: that of counts which nothing influences.

    Args:
        days: violations by day (YYYY-MM-DD).
        precincts: by precinct, violations by month (YYYY-MM).
    """
    totals, lengths = Counter[str](), Counter[str]()
    for day, n in days.items():
        totals[day[: len("YYYY-MM")]] += n
        lengths[day[: len("YYYY-MM")]] += 1
    largest = max(totals.values(), default=0)
    covered = sorted(month for month, n in totals.items() if n >= COVERED * largest)
    compared = [*_compared("", totals, lengths, covered)]
    for name, months in precincts.items():
        compared += _compared(name, months, totals, covered)
    far = sorted(
        (m for m in compared if abs(m.score) >= UNUSUAL_FROM), key=lambda m: (-abs(m.score), m.month, m.precinct)
    )
    return Unusual(
        months=tuple(far[:TOP_UNUSUAL]),
        found=len(far),
        compared=len(compared),
        covered=tuple(covered),
        left_out=sum(totals.values()) - sum(totals[month] for month in covered),
        most=max(compared, key=lambda m: abs(m.score), default=None),
    )


def _compared(
    precinct: str, counts: Mapping[str, int], sizes: Mapping[str, int], covered: Sequence[str]
) -> Iterator[UnusualMonth]:
    """The months of a series, each with its distance from those before it, by count per size."""
    for at in range(FEWEST_PAST_MONTHS, len(covered)):
        month = covered[at]
        n, size = counts.get(month, 0), sizes[month]
        past = [counts.get(earlier, 0) / sizes[earlier] for earlier in covered[:at]]
        middle = median(past)
        expected = middle * size
        mad = median(abs(value - middle) for value in past) * size
        spread = max(MAD_TO_SIGMA * mad, math.sqrt(expected), 1)
        yield UnusualMonth(precinct, month, n, expected, spread, (n - expected) / spread, at)
