"""``prestacop fleet``: the health of each drone's battery, and the flights left until it has 80 % of its capacity.

A message has the charge in percent of the battery's present capacity, and no current: a battery that has lost a fifth
of its capacity discharges in four fifths of the time, and charges in four fifths of the time. So each flight, and each
charge, measures the capacity: the minutes that it would take from full to empty, or from empty to full. Wind and load
scatter flights by several percent, and whole days have wind, so the medians of days are compared, not single flights.

The loss follows the square root of use (Schmalstieg et al., Journal of Power Sources 257 (2014), 325-334, and for other
cells Wang et al., Journal of Power Sources 196 (2011), 3942-3948, with an exponent of 0.55): minutes = a + b * sqrt(n)
after n flights. Theil-Sen's estimator (:func:`scipy.stats.theilslopes`) gives b and its interval, whatever a quarter of
the days do. Flights and charges are two measurements of one capacity; each weighs as it is certain.

A day after which the minutes are suddenly more is that of a new battery: only flights since then count.
"""

import argparse
import csv
import math
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import duckdb
import msgspec
import numpy as np
import numpy.typing as npt
from scipy.stats import theilslopes

from lake import Lake, filled_lake
from lake.changes import reading
from pipelines.analysis import flags
from pipelines.cli.app import run
from schemas.lake import Dataset
from terminal.printing import number_of

Floats = npt.NDArray[np.float64]

WORN: Final = 0.8
"""The share of its capacity at which a battery is worn out."""
FEWEST_FLIGHTS: Final = 30
FEWEST_DAYS: Final = 7
CAVEAT: Final = "The model was tested on simulated batteries only, never on real ones."
_MINUTE_US: Final = 60_000_000
_DAY_MINUTES: Final = 1440
_AIRBORNE_M: Final = 5
_LONGEST_GAP: Final = 10
"""Minutes without a message after which a flight is not continued."""
_LEAST_CHANGE: Final = 20
"""Percent by which the charge changes in a flight or charge that is measured; rounding to whole percents is 1 in 70 of
the slope of the shortest one."""
_FEWEST_SAMPLES: Final = 5
_PASS_SAMPLES: Final = 20_000_000
"""Samples of drones that are looked at together: DuckDB does not spill windows and groups of any size."""
_AROUND: Final = 5
"""Days before and after that are compared to find a new battery."""
_FEWEST_AFTER: Final = 3
_LEAST_JUMP: Final = 0.05
_JUMP_SIGMAS: Final = 4
_MAD_TO_SIGMA: Final = 1.4826
_OF_MEDIAN: Final = 1.2533
"""Standard error of a median, relative to that of a mean."""
_SIGMAS_95: Final = 1.96
_MODEL_ERROR: Final = 0.01
"""Standard error of the form of the curve, in health, which both measurements share: calendar ageing is another one."""
_DRONES_DIFFER: Final = 0.03
"""Standard deviation of the power that drones of one kind take: assumed, it matters with ``--new-minutes`` alone."""

_COUNT: Final = """
    SELECT coalesce(list(DISTINCT drone_id::VARCHAR), []) AS drones,
           count(DISTINCT drone_id) FILTER (battery_pct IS NULL) AS without, count(*) AS messages,
           coalesce(epoch(max(event_time) - min(event_time)) / 60, 0)::BIGINT AS minutes
    FROM messages
"""
# One message a minute is enough, and bounds what the windows hold; the first one, so that copies change nothing.
_DAYS: Final = f"""
    WITH samples AS (
        SELECT drone, minute, s.b AS b, s.altitude >= {_AIRBORNE_M} AS airborne FROM (
            SELECT drone_id::VARCHAR AS drone, epoch_us(event_time) // {_MINUTE_US} AS minute,
                   min({{'t': event_time, 'b': battery_pct, 'altitude': altitude_m}}) AS s
            FROM messages
            WHERE battery_pct IS NOT NULL AND altitude_m IS NOT NULL
              AND hash(drone_id::VARCHAR) % $passes = $part
            GROUP BY ALL
        )
    ), segments AS (
        SELECT *, sum(begins::INT) OVER (PARTITION BY drone ORDER BY minute) AS segment FROM (
            SELECT *, airborne IS DISTINCT FROM lag(airborne) OVER w OR minute - lag(minute) OVER w > {_LONGEST_GAP}
                      OR (airborne AND b > lag(b) OVER w + {_LEAST_CHANGE}) AS begins
            FROM samples WINDOW w AS (PARTITION BY drone ORDER BY minute)
        )
    ), measured AS (
        SELECT drone, airborne, min(minute) AS minute, max(b) - min(b) AS change,
               100 / abs(regr_slope(b, minute)) AS minutes, sign(regr_slope(b, minute)) AS direction
        FROM (
            -- After a charge the drone rests with a battery that is full enough; chargers are slow at the end.
            SELECT *, least(95, max(b) OVER (PARTITION BY drone, segment) - 3) AS until FROM segments
        ) WHERE airborne OR b < until
        GROUP BY drone, segment, airborne HAVING count(*) >= {_FEWEST_SAMPLES}
    ), numbered AS (
        SELECT *, count(*) FILTER (airborne) OVER (PARTITION BY drone ORDER BY minute) AS number FROM measured
        WHERE change >= {_LEAST_CHANGE} AND direction = if(airborne, -1, 1)
    )
    SELECT drone, airborne, minute // {_DAY_MINUTES} AS day, median(minutes) AS minutes,
           avg(number)::DOUBLE AS number, count(*) AS n, max(number) AS last
    FROM numbered GROUP BY ALL ORDER BY drone, airborne, day
"""


class Battery(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a drone's battery. Intervals are of 95 %; what cannot be estimated is None."""

    drone: str
    state: str
    """``replace``: below 80 % of its capacity; ``watch``: the interval begins below; ``good``; or ``not enough
    flights``."""
    flights: int
    """Flights of 20 % of the charge or more since ``since``."""
    since: str | None
    """The day (UTC) of the first flight that was counted, or of the first one with a new battery."""
    replaced: bool
    """Whether a new battery was seen."""
    flight_minutes: float | None = None
    """From full to empty, now."""
    charge_minutes: float | None = None
    health: float | None = None
    """Capacity relative to a new battery."""
    health_low: float | None = None
    health_high: float | None = None
    flights_left: int | None = None
    """Until 80 % of the capacity; None where no loss is seen, too."""
    flights_left_low: int | None = None
    flights_left_high: int | None = None


class Fleet(NamedTuple):
    """The batteries of a fleet, by name of the drone."""

    batteries: list[Battery]
    without_battery: int
    """Drones some of whose messages do not say how full the battery is (version 0)."""


class _Days(NamedTuple):
    """The medians of a drone's flights, or charges, by day."""

    day: Floats
    minutes: Floats
    number: Floats
    """How many flights came before, on average."""
    n: Floats
    last: Floats

    def since(self, day: float) -> "_Days":
        return _Days(*(column[self.day >= day] for column in self))


class _Trend(NamedTuple):
    """``minutes = start + slope * sqrt(flights)``."""

    now: float
    """Minutes now."""
    health: float
    low: float
    high: float
    fade: tuple[float, float, float]
    """The share of the present capacity that is lost with the square root of the flights: estimate, least and most."""

    @property
    def variance(self) -> float:
        return max((self.high - self.low) / 2 / _SIGMAS_95, 1e-6) ** 2


def fleet(lk: Lake, since: datetime | None = None, new_minutes: float | None = None) -> Fleet:
    """Estimate the batteries of all drones.

    Args:
        since: only messages since then are read; None for all.
        new_minutes: how long a new battery flies from full to empty; None for what each drone's first flights say.
    """
    parts, where = lk.parts(Dataset.POSITIONS), "true"
    if since:
        parts = parts.since(since)
        where = f"event_time >= '{since.isoformat()}'::TIMESTAMPTZ"
    with lk.spilling({Dataset.POSITIONS: parts}, "FROM positions") as connection:
        connection.execute(f"CREATE TEMP VIEW messages AS FROM positions WHERE {where}")
        return estimate(connection, new_minutes)


def estimate(connection: duckdb.DuckDBPyConnection, new_minutes: float | None = None) -> Fleet:
    """The same from ``messages``: a view with drone_id, event_time, battery_pct and altitude_m."""
    drones, without, messages, minutes = connection.sql(_COUNT).fetchall()[0]
    passes = max(1, math.ceil(min(messages, len(drones) * (minutes + 1)) / _PASS_SAMPLES))
    batteries = [
        _battery(name, flights, charges, new_minutes)
        for part in range(passes)
        for name, flights, charges in _by_drone(connection, passes, part)
    ]
    seen = {battery.drone for battery in batteries}
    batteries += [_unknown(name, 0, None) for name in drones if name not in seen]
    return Fleet(sorted(batteries, key=lambda battery: battery.drone), without)


def _by_drone(connection: duckdb.DuckDBPyConnection, passes: int, part: int) -> Iterator[tuple[str, _Days, _Days]]:
    table = connection.sql(_DAYS, params={"passes": passes, "part": part}).to_arrow_table()
    names, airborne = (table[name].combine_chunks() for name in ("drone", "airborne"))
    columns = [table[name].to_numpy().astype(float) for name in _Days._fields]
    index = names.dictionary_encode()
    places, flying = index.indices.to_numpy(), airborne.to_numpy(zero_copy_only=False)
    bounds = np.searchsorted(places, np.arange(len(index.dictionary) + 1))
    for number, name in enumerate(index.dictionary.to_pylist()):
        here = slice(bounds[number], bounds[number + 1])
        days = [_Days(*(column[here][flying[here] == kind] for column in columns)) for kind in (True, False)]
        yield name, days[0], days[1]


def _battery(name: str, flights: _Days, charges: _Days, new_minutes: float | None) -> Battery:
    steadier = min((flights, charges), key=_noise)
    replaced = _last_replaced(steadier)
    began = -math.inf if replaced is None else replaced
    flights, charges = flights.since(began), charges.since(began)
    if not len(flights.day):
        return _unknown(name, 0, None)
    first = flights.last[0] - flights.n[0]
    count = int(flights.last[-1] - first)
    since = _date(max(began, flights.day[0]))
    if count < FEWEST_FLIGHTS or len(flights.day) < FEWEST_DAYS:
        return _unknown(name, count, since, replaced=replaced is not None)
    trends = {True: _trend(flights, first, count, new_minutes)}
    if len(charges.day) >= FEWEST_DAYS:
        trends[False] = _trend(charges, first, count, None)
    # Only flights are compared with what a new battery of this kind flies.
    used = [trends[True]] if new_minutes else list(trends.values())
    weights = np.array([1 / trend.variance for trend in used])
    health = float(np.average([trend.health for trend in used], weights=weights))
    margin = _SIGMAS_95 * math.hypot(1 / math.sqrt(weights.sum()), _MODEL_ERROR)
    low, high = max(health - margin, 0.0), health + margin
    if new_minutes:
        steady = min(trends.values(), key=lambda trend: trend.fade[2] - trend.fade[1])
        fade = [loss * health for loss in steady.fade]
    else:
        fade = [(1 - share) / math.sqrt(count) for share in (health, high, low)]
    left, left_high, left_low = (
        _left(share, loss, count) for share, loss in zip((health, high, low), fade, strict=True)
    )
    return Battery(
        drone=name,
        state="replace" if health < WORN else "watch" if low < WORN else "good",
        flights=count,
        since=since,
        replaced=replaced is not None,
        flight_minutes=round(trends[True].now, 2),
        charge_minutes=round(trends[False].now, 2) if False in trends else None,
        health=round(health, 4),
        health_low=round(low, 4),
        health_high=round(high, 4),
        flights_left=left,
        flights_left_low=left_low,
        flights_left_high=left_high,
    )


def _unknown(name: str, flights: int, since: str | None, replaced: bool = False) -> Battery:
    return Battery(drone=name, state="not enough flights", flights=flights, since=since, replaced=replaced)


def _trend(days: _Days, first: float, count: int, new_minutes: float | None) -> _Trend:
    """The health after ``count`` flights, the first of which has the number ``first``."""
    x = np.sqrt(np.maximum(days.number - first, 0))
    slope, _, low, high = theilslopes(days.minutes, x)
    at, middle, end = float(np.median(x)), float(np.median(days.minutes)), math.sqrt(count)

    now = float(middle + slope * (end - at))
    rest = np.abs(days.minutes - (middle + slope * (x - at)))
    level = _SIGMAS_95 * _OF_MEDIAN * _MAD_TO_SIGMA * float(np.median(rest)) / math.sqrt(len(x)) / middle
    # In a ratio to the battery's own first flights the level cancels.
    margin = math.hypot(level, _SIGMAS_95 * _DRONES_DIFFER) if new_minutes else 0.0

    def health(slope: float) -> float:
        new = new_minutes or max(middle - slope * at, middle / 10)
        return float((middle + slope * (end - at)) / new)

    fade = (-float(slope) / now, -float(high) / now, -float(low) / now)
    return _Trend(now, health(slope), health(low) - margin, health(high) + margin, fade)


def _left(health: float, fade: float, flights: int) -> int | None:
    """Flights until 80 %; None where there is no loss."""
    if fade <= 0:
        return None
    root = math.sqrt(flights) + (health - WORN) / fade
    return max(round(root * abs(root) - flights), 0)


def _noise(days: _Days) -> float:
    """The standard deviation of a day's minutes, relative to them; infinite where days are too few to see a new
    battery."""
    if len(days.minutes) < _AROUND + _FEWEST_AFTER:
        return math.inf
    steps = np.diff(np.log(days.minutes))
    return _MAD_TO_SIGMA * float(np.median(np.abs(steps - np.median(steps)))) / math.sqrt(2)


def _last_replaced(days: _Days) -> float | None:
    """The first day with the battery of now, where an earlier one was seen."""
    minutes, sigma = days.minutes, _noise(days)
    found, largest = None, 0.0
    for at in range(_AROUND, len(minutes) - _FEWEST_AFTER + 1):
        before, after = minutes[at - _AROUND : at], minutes[at : at + _AROUND]
        low, high = float(np.median(before)), float(np.median(after))
        error = _OF_MEDIAN * sigma * math.sqrt(1 / _AROUND + 1 / len(after))
        if math.log(high / low) < max(_LEAST_JUMP, _JUMP_SIGMAS * error):
            largest = 0.0
        elif high / low > largest:  # the days around it see the same jump
            found, largest = at - _run_above(before, math.sqrt(low * high)), high / low
    return None if found is None else float(days.day[found])


def _run_above(minutes: Floats, limit: float) -> int:
    """How many of the last days are above a limit."""
    below = np.flatnonzero(minutes[::-1] <= limit)
    return int(below[0]) if len(below) else 0


def _date(day: float) -> str:
    return f"{datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day):%Y-%m-%d}"


def main(argv: Sequence[str]) -> None:
    """The command."""
    parser = flags.fleet()
    arguments = parser.parse_args(argv)
    run(lambda: _command(arguments), "The lake was only read; run it again.")


def _command(arguments: argparse.Namespace) -> int:
    with reading(arguments.lake, "fleet"):
        found = fleet(filled_lake(arguments.lake), arguments.since, arguments.new_minutes)
    match arguments.format:
        case "json":
            print(msgspec.json.format(msgspec.json.encode({"note": CAVEAT, "batteries": found.batteries})).decode())
        case "csv":
            out = csv.writer(sys.stdout, lineterminator="\n")
            out.writerow(Battery.__struct_fields__)
            out.writerows(msgspec.structs.astuple(battery) for battery in found.batteries)
        case _:
            print("\n".join(_table(found, arguments.new_minutes)))
    return 0


def _table(found: Fleet, new_minutes: float | None) -> Iterator[str]:
    width = max([len("drone"), *(len(battery.drone) for battery in found.batteries)])
    row = f"{{:{width}}}  {{:>7}}  {{:11}}  {{:>6}}  {{:>6}}  {{:>6}}  {{:14}}  {{:>6}}  {{:16}}  {{}}"
    yield row.format("drone", "flights", "since", "flight", "charge", "health", "(95 %)", "left", "(95 %)", "state")
    for b in found.batteries:
        begin = (b.drone, f"{b.flights:,}", (b.since or "") + "*" * b.replaced)
        health = tuple("" if share is None else f"{share:.1%}" for share in (b.health, b.health_low, b.health_high))
        left = tuple(
            "" if b.health is None else _MANY if flights is None or flights >= 10_000 else f"{flights:,}"
            for flights in (b.flights_left, b.flights_left_low, b.flights_left_high)
        )
        minutes = ("" if n is None else f"{n:.1f}" for n in (b.flight_minutes, b.charge_minutes))
        yield row.format(*begin, *minutes, health[0], _interval(*health[1:]), left[0], _interval(*left[1:]), b.state)
    yield ""
    yield "flight, charge: minutes of a whole battery now. left: flights until 80 % of its capacity. since: the first"
    yield f"flight counted, *: new battery. not enough flights: fewer than {FEWEST_FLIGHTS} on {FEWEST_DAYS} days."
    if not new_minutes:
        yield "Health is relative to that flight: if the battery was not new then, it is worse; give --new-minutes."
    if found.without_battery:
        yield f"{number_of(found.without_battery, 'drone')} sent messages without the battery's charge (version 0)."
    yield CAVEAT


_MANY: Final = ">9,999"


def _interval(low: str, high: str) -> str:
    return f"{low} to {high}" if high else ""
