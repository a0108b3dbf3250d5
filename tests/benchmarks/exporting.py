"""What metrics cost: ``python -m tests.benchmarks.exporting [--tail 200] [--units 60] [--rows 1000]``.

Prints the CPU time of a look and of a scrape, which other load of the machine hardly changes, and their share of all
CPU time between two looks: a run that keeps all cores busy loses that share of its throughput at most.
"""

import argparse
import os
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest

from lake.ledger import commit
from lake.publication import publish
from metrics.lake.collector import Metrics
from metrics.lake.parts import LakePart
from tests.lakes import Said, write

EVERY_SECONDS = 15.0
SCRAPES = 1
"""Between two looks."""
LOOKS = 5


def units(root: str, first: int, n: int, rows: int) -> list[dict[str, Any]]:
    """Units whose files are written."""
    made = []
    for unit in range(first, first + n):
        messages = [Said(f"{unit}-{row}", published=1_900_000_000) for row in range(rows)]
        row = write(root, f"drones-kafka-fleet-00000-{unit:019d}", messages)
        made.append(row | {"range_start": unit * rows, "range_end": (unit + 1) * rows})
    return made


def measured(root: str, tail: int, new: int, rows: int, published: bool) -> tuple[float, float]:
    """The CPU seconds of a look that finds ``new`` units, and of a scrape; medians."""
    lake = LakePart(root, EVERY_SECONDS)
    registry = CollectorRegistry()
    registry.register(Metrics(lake, []))
    commit(root, units(root, 0, tail, rows))
    assert lake.attempt() is None
    looks, scrapes = [], []
    for n in range(LOOKS):
        commit(root, units(root, tail + n * new, new, rows))
        if published:
            publish(root)
        began = time.process_time()
        assert lake.attempt() is None
        looks.append(time.process_time() - began)
        began = time.process_time()
        generate_latest(registry)
        scrapes.append(time.process_time() - began)
    return median(looks), median(scrapes)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tail", type=int, default=200, help="units in the tail when it begins")
    parser.add_argument("--units", type=int, default=60, help="new units at each look: four partitions, one a second")
    parser.add_argument("--rows", type=int, default=1_000, help="rows of a unit")
    given = parser.parse_args()
    cores = os.cpu_count() or 1
    print(f"CPU time; shares of {cores} cores, a look every {EVERY_SECONDS:g} s")
    for what, new, published in (
        ("no news", 0, False),
        ("new units", given.units, False),
        ("published", given.units, True),
    ):
        with TemporaryDirectory() as folder:
            look, scrape = measured(str(Path(folder) / "lake"), given.tail, new, given.rows, published)
        share = (look + SCRAPES * scrape) / EVERY_SECONDS / cores
        print(f"{what:10} {new:4} units: look {1e3 * look:6.1f} ms, scrape {1e3 * scrape:5.2f} ms, {share:.3%}")


if __name__ == "__main__":
    main()
