"""``python -m tests.benchmarks.fleet``: the estimates of ``prestacop fleet`` against the truth of simulated batteries.

A fleet flies for weeks with one message a minute and drone. Messages are lost, some report a charge that is off by a
sensor's noise or wildly wrong, charges are whole percents; winds, partial charges and new batteries are in the
simulator. The truth is the capacity that the simulator's batteries have at the end.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import altair as alt
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from apps.simulator.fleet.battery import Batteries
from apps.simulator.fleet.drones import Fleet
from lake import lake
from lake.files import in_ledger, write_unit
from lake.ledger import commit
from pipelines.analysis.fleet import WORN, Battery, fleet
from schemas.lake import DUPLICATES, MICROSECONDS, Dataset, Source, constant
from schemas.lake import UTC as TIME
from transforms.outputs import OUTPUT_DATASETS
from transforms.stats import HOUR, WindowCounter

START: Final = datetime(2026, 1, 1, 5, tzinfo=UTC)
DAY_MINUTES: Final = 1440
REST_S: Final = 6300.0
"""A drone flies about ten times a day."""
LOST: Final = 0.05
"""Share of the messages that are lost."""
WILD: Final = 0.001
"""Share of the messages whose charge is any number."""
NOISE_PCT: Final = 0.5
SWAPS: Final = 1 / 90
"""Share of the drones that get a new battery on a day."""


class Case(NamedTuple):
    """A fleet."""

    name: str
    ageing: float = 1.0
    oldest_days: float = 0.0
    swaps: float = 0.0
    new_minutes: float | None = None


CASES: Final = (
    Case("new batteries"),
    Case("new batteries, some replaced", swaps=SWAPS),
    Case("used batteries, --new-minutes 30", oldest_days=60, new_minutes=30),
    Case("healthy: ageing a tenth as fast", ageing=0.1),
)


class Flown(NamedTuple):
    """The truth at the end of a flight, by drone."""

    capacity: npt.NDArray[np.float64]
    flights_left: npt.NDArray[np.float64]
    """Until 80 %, as the simulator would go on at the pace of the flight so far; 0 where it is below."""


def fly(root: str, case: Case, *, drones: int, days: int, seed: int) -> Flown:
    """Fill a lake with the positions of a fleet; one unit of work a day."""
    rng = np.random.default_rng((seed, 3))
    batteries = Batteries(np.random.default_rng((seed, 2)), drones, case.oldest_days, case.ageing)
    flying = Fleet(np.random.default_rng(seed), drones, batteries, REST_S)
    begin = round(START.timestamp())
    names = np.array([f"drone-{number + 1:04d}" for number in range(drones)])
    for day in range(days):
        charge, altitude = np.empty((DAY_MINUTES, drones)), np.empty((DAY_MINUTES, drones))
        for minute in range(DAY_MINUTES):
            flying.step(60)
            charge[minute], altitude[minute] = flying.battery_pct, flying.altitude_m
        minute_of, drone, *states = messages(rng, charge, altitude)
        event_us = (begin + (day * DAY_MINUTES + minute_of) * 60) * MICROSECONDS
        write_positions(root, day, event_us, names[drone].tolist(), *states)
        if day < days - 1:  # after the last flight nobody can know
            batteries.replace(np.flatnonzero(rng.random(drones) < case.swaps))
    return Flown(batteries.capacity, batteries.flights_until(WORN))


def messages(
    rng: np.random.Generator, charge: npt.NDArray[np.float64], altitude: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[Any], ...]:
    """What arrives of a day: minute, drone, charge and altitude of each message."""
    noisy = np.clip(np.round(charge + rng.normal(0, NOISE_PCT, charge.shape)), 0, 100)
    wild = rng.random(charge.shape) < WILD
    noisy[wild] = rng.integers(0, 100, int(wild.sum()))
    minute, drone = np.nonzero(rng.random(charge.shape) >= LOST)
    return minute, drone, noisy[minute, drone], altitude[minute, drone].round(1)


def write_positions(
    root: str,
    number: int,
    event_us: npt.NDArray[np.int64],
    drones: Sequence[str],
    charge: npt.NDArray[np.float64],
    altitude: npt.NDArray[np.float64],
) -> None:
    """Write and commit a unit of positions; arrays have one entry a message."""
    unit, n = f"fleet-{number:05d}", len(event_us)
    columns = {
        "unit": constant(unit, n),
        "record": pa.array(np.arange(n)),
        "event_time": pa.array(event_us).cast(TIME),
        "message_id": pa.array([f"{unit}-{record}" for record in range(n)]),
        "drone_id": pa.array(drones).dictionary_encode(),
        "altitude_m": pa.array(altitude),
        "battery_pct": pa.array(charge),
        "status": constant("raw", n),
        "kind": constant("position", n),
        "violation_code": pa.nulls(n, pa.int16()),
        "area": constant("40.75,-73.99", n),
    }
    rows = pa.RecordBatch.from_pydict(columns)
    counter = WindowCounter(HOUR)
    counter.add(rows)
    parts = {Dataset.POSITIONS: rows, Dataset.STATS: counter.counts(unit)}
    files = [file for dataset, part in parts.items() for file in write_unit(root, dataset, Source.DRONES, unit, [part])]
    counts = dict.fromkeys((*map(str, OUTPUT_DATASETS), DUPLICATES), 0) | {str(Dataset.POSITIONS): n}
    place = {
        "unit": unit,
        "source": str(Source.DRONES),
        "path": "fleet",
        "range_start": number,
        "range_end": number + 1,
    }
    commit(root, [{**place, **counts, "rows_in": n, "counted": n, **in_ledger(files)}])


def compare(found: list[Battery], flown: Flown) -> dict[str, Any]:
    """How good the estimates are."""
    capacity = flown.capacity
    known = np.array([battery.health is not None for battery in found])
    health, low, high = (
        np.array([getattr(battery, name) or np.nan for battery in found], dtype=float)
        for name in ("health", "health_low", "health_high")
    )
    error = (health - capacity)[known]
    worn, told = capacity < WORN, np.array([battery.state == "replace" for battery in found])
    warned = told | np.array([battery.state == "watch" for battery in found])
    left = np.array([battery.flights_left if battery.flights_left is not None else np.nan for battery in found], float)
    ahead = known & ~worn & (flown.flights_left < 1000) & np.isfinite(left)
    return {
        "drones": len(found),
        "estimated": int(known.sum()),
        "worn": int(worn.sum()),
        "health: median error": round(float(np.median(error)), 4),
        "health: median absolute error": round(float(np.median(np.abs(error))), 4),
        "health: largest error": round(float(np.abs(error).max()), 4),
        "health: in the 95 % interval": round(float(((low <= capacity) & (capacity <= high))[known].mean()), 3),
        "replace: precision": _share((told & worn).sum(), told.sum()),
        "replace: recall": _share((told & worn).sum(), (worn & known).sum()),
        "replace or watch: precision": _share((warned & worn).sum(), warned.sum()),
        "replace or watch: recall": _share((warned & worn).sum(), (worn & known).sum()),
        "false alarms (replace)": int((told & ~worn).sum()),
        "false alarms above 82 %": int((told & (capacity > WORN + 0.02)).sum()),
        "flights left below 1,000: median error": _median((left - flown.flights_left)[ahead]),
        "flights left below 1,000: median absolute error": _median(np.abs(left - flown.flights_left)[ahead]),
    }


def _share(part: Any, whole: Any) -> float | None:
    return round(float(part / whole), 3) if whole else None


def _median(values: npt.NDArray[np.float64]) -> float | None:
    return round(float(np.median(values)), 1) if len(values) else None


def chart(points: list[dict[str, Any]], path: Path) -> None:
    """Draw the estimates over the truth."""
    scale, percents = alt.Scale(domain=[0.55, 1.0], zero=False, clamp=True), alt.Axis(format="%")
    title = "estimate, with its 95 % interval"
    x = alt.X("truth:Q", title="true capacity, relative to new", scale=scale, axis=percents)
    y = alt.Y("estimate:Q", title=title, scale=scale, axis=percents)
    legend = alt.Legend(orient="bottom", columns=2, labelLimit=300, symbolOpacity=1)
    base = alt.Chart(alt.InlineData(values=points)).encode(
        x=x, color=alt.Color("fleet:N", title="simulated fleet", legend=legend)
    )
    ranges = base.mark_rule(opacity=0.35).encode(y=alt.Y("low:Q", title=title, scale=scale, axis=percents), y2="high:Q")
    dots = base.mark_circle(size=28, opacity=0.9).encode(y=y)
    ends = alt.InlineData(values=[{"truth": v, "estimate": v} for v in (0.55, 1.0)])
    line = alt.Chart(ends).mark_line(color="gray", strokeDash=[4, 4]).encode(x=x, y=y)
    limit = alt.Chart(alt.InlineData(values=[{"truth": WORN, "estimate": WORN}]))
    worn = [limit.mark_rule(color="firebrick", opacity=0.5).encode(**{axis: v}) for axis, v in (("x", x), ("y", y))]
    whole = alt.layer(line, *worn, ranges, dots).properties(
        width=560, height=480, title="prestacop fleet: estimate and truth, simulated batteries only"
    )
    whole.save(str(path), scale_factor=1.5)


def main() -> None:
    """Fly each fleet, estimate, compare."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.fleet", description=__doc__)
    parser.add_argument("--drones", type=int, default=60, help="in each fleet (default: 60)")
    parser.add_argument("--days", type=int, default=45, help="that they fly (default: 45)")
    parser.add_argument("--seed", type=int, default=1, help="(default: 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="draw estimates and truth there: docs/fleet.png")
    arguments = parser.parse_args()
    results, points = {}, list[dict[str, Any]]()
    for number, case in enumerate(CASES):
        with TemporaryDirectory() as folder:
            began = time.process_time()
            flown = fly(folder, case, drones=arguments.drones, days=arguments.days, seed=arguments.seed + number)
            made = time.process_time()
            found = fleet(lake(folder), new_minutes=case.new_minutes).batteries
            seconds = {
                "CPU s to simulate": round(made - began, 1),
                "CPU s to estimate": round(time.process_time() - made, 1),
            }
        results[case.name] = compare(found, flown) | seconds
        print(f"\n{case.name}")
        for name, value in results[case.name].items():
            print(f"  {name:48} {value}", flush=True)
        points += [
            {"fleet": case.name, "truth": truth, "estimate": b.health, "low": b.health_low, "high": b.health_high}
            for b, truth in zip(found, flown.capacity.tolist(), strict=True)
            if b.health is not None
        ]
    if arguments.json:
        arguments.json.write_text(json.dumps({"arguments": sys.argv[1:], "fleets": results}, indent=1) + "\n")
    if arguments.chart:
        chart(points, arguments.chart)


if __name__ == "__main__":
    main()
