"""What the bench prints: a line about the machine, a table, and the ratios with their targets."""

import os
import platform
import statistics
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple

import psutil

from tests.benchmarks import engines
from tests.benchmarks.agreement import Outcome
from tests.benchmarks.measure import Usage

NATIVE_RATIO: Final = 1.0
MEMORY_GROWTH: Final = 1.10
MEMORY_MB: Final = 1000.0
LINEAR: Final = 1.10


class Run(NamedTuple):
    """One run of one engine."""

    size: int
    """Rows of the file."""
    round: int
    engine: str
    usage: Usage
    outcome: Outcome


def machine() -> dict[str, str]:
    """What the figures are taken on; call it before they are, for the load that was there already."""
    model = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), ""
    )
    packages = ("apache-beam", "polars", "pyarrow", "numpy")
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "cpu": model or platform.processor(),
        "cores": str(psutil.cpu_count()),
        "memory": f"{psutil.virtual_memory().total / 1e9:.0f} GB",
        "load": f"{os.getloadavg()[1]:.1f}",  # of five minutes
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def machine_line(facts: dict[str, str]) -> str:
    """One line about the machine."""
    here = ("date", "cpu", "cores", "memory", "load")
    versions = ", ".join(f"{name} {facts[name]}" for name in facts if name not in here)
    place = f"{facts['cpu']}, {facts['cores']} cores, {facts['memory']}, load {facts['load']} before"
    return f"{facts['date']}; {place}; {versions}"


def table(runs: list[Run]) -> str:
    """A line an engine and size."""
    lines = [
        "| file | engine | wall s, median (min-max) | rows/s | CPU s | cores busy | peak RSS MB | files | MB written |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for size in _sizes(runs):
        for engine in engines.ALL:
            found = [run for run in runs if (run.size, run.engine) == (size, engine.name)]
            if found:
                lines.append(_table_line(engine.name, found))
    return "\n".join(lines)


def medians(used: Sequence[Usage]) -> list[float]:
    """Of several runs the median of wall seconds, CPU seconds and busy cores, and the highest memory in MB."""
    wall, cpu = (statistics.median(values) for values in zip(*(usage[:2] for usage in used), strict=True))
    busy = statistics.median(usage.cpu_s / usage.wall_s for usage in used)
    return [round(wall, 2), round(cpu, 2), round(busy, 2), round(max(usage.peak_mb for usage in used))]


def _table_line(name: str, runs: list[Run]) -> str:
    walls = [run.usage.wall_s for run in runs]
    wall, cpu, busy, peak = medians([run.usage for run in runs])
    last = runs[-1].outcome
    return (
        f"| {runs[0].size:,} | {name} | {wall:.2f} ({min(walls):.2f}-{max(walls):.2f}) | {runs[0].size / wall:,.0f} "
        f"| {cpu:.1f} | {busy:.2f} | {peak:,.0f} | {last.files:,} | {last.bytes / 1e6:,.0f} |"
    )


def ratios(runs: list[Run]) -> list[dict[str, Any]]:
    """Each ratio with its median and range over the rounds, its target, and whether it was reached."""
    found = [
        _ratio(
            f"{size:,} rows: polars / ours, wall",
            [r["polars"].usage.wall_s / r["ours"].usage.wall_s for r in _rounds(runs, size)],
            f">= {NATIVE_RATIO:.1f}x",
            lambda value: value >= NATIVE_RATIO,
        )
        for size in _sizes(runs)
    ]
    return found + (_growth(runs) if len(_sizes(runs)) > 1 else [])


def _growth(runs: list[Run]) -> list[dict[str, Any]]:
    small, *_, large = _sizes(runs)
    pairs = [(a["ours"], b["ours"]) for a, b in zip(_rounds(runs, small), _rounds(runs, large), strict=True)]
    peak = max(b.usage.peak_mb for _, b in pairs)
    return [
        _ratio(
            f"ours: peak RSS, {large:,} / {small:,} rows (at most {peak:,.0f} MB)",
            [b.usage.peak_mb / a.usage.peak_mb for a, b in pairs],
            f"<= {MEMORY_GROWTH:.2f}x and < {MEMORY_MB:,.0f} MB",
            lambda value: value <= MEMORY_GROWTH and peak < MEMORY_MB,
        ),
        _ratio(
            f"ours: wall, {large:,} / {small:,} rows, relative to linear",
            [b.usage.wall_s / a.usage.wall_s / (large / small) for a, b in pairs],
            f"<= {LINEAR:.2f}x",
            lambda value: value <= LINEAR,
        ),
    ]


def ratio_lines(found: Iterable[dict[str, Any]]) -> str:
    """The ratios as a table."""
    lines = ["| ratio, paired by round | median (min-max) | target | |", "| --- | ---: | ---: | --- |"]
    lines += [
        f"| {r['what']} | {r['median']:.2f}x ({r['min']:.2f}-{r['max']:.2f}) | {r['target']} | {r['word']} |"
        for r in found
    ]
    return "\n".join(lines)


def _ratio(what: str, values: list[float], target: str, reached: Callable[[float], bool]) -> dict[str, Any]:
    median = statistics.median(values)
    word = "reached" if reached(median) else "missed"
    return {"what": what, "median": median, "min": min(values), "max": max(values), "target": target, "word": word}


def _sizes(runs: list[Run]) -> list[int]:
    return sorted({run.size for run in runs})


def _rounds(runs: list[Run], size: int) -> list[dict[str, Run]]:
    numbers = sorted({run.round for run in runs if run.size == size})
    return [{run.engine: run for run in runs if (run.size, run.round) == (size, number)} for number in numbers]
