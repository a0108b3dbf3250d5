"""``python -m tests.benchmarks.loaded``: what the graph takes for a file in a topic, the first time and again.

Also how fast a gzip file is unpacked up to where a load to a topic goes on.
"""

import argparse
import gzip
import shutil
import sys
import tempfile
import time
from pathlib import Path

from apps.loader.command import main as loader
from apps.loader.source import look_at
from runners.services import NAMES, Services, free_port
from tests.benchmarks.measure import run
from tests.services.support import make_topic
from tests.support import make_history

ROWS = 1_000_000
ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.loaded", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS, metavar="N", help="of the file (1000000)")
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory(prefix="prestacop-loaded-") as name:
        folder = Path(name)
        services = Services(data=folder / "services", ports={name: free_port() for name in NAMES})
        try:
            history = make_history(folder / "tickets.csv", rows)
            services.up("kafka")
            topic = make_topic(services.environment("kafka")["KAFKA_BOOTSTRAP_SERVERS"], "tickets", partitions=1)
            loader([str(history), "--to", topic, "--journal", str(folder / "journals"), "--quiet"])
            print("\n| the graph reads | s | peak MB |\n|---|---:|---:|")
            for what, source, lake in (
                ("the file", str(history), "direct"),
                ("the topic", topic, "loaded"),
                ("the topic again", topic, "loaded"),
            ):
                command = [sys.executable, "-m", "prestacop", "run", "--quiet", "--history", source]
                usage = run([*command, "--output", str(folder / lake)], ROOT, folder / "log")
                print(f"| {what} | {usage.wall_s:.1f} | {usage.peak_mb:.0f} |", flush=True)
        finally:
            services.down(clean=True)
        print(f"\na gzip file is unpacked at {_unpacking(history):.0f} MB/s of its text")
    return 0


def _unpacking(history: Path) -> float:
    """MB of text a second, as far as a load that goes on has to go."""
    packed = history.with_suffix(".csv.gz")
    with history.open("rb") as text, gzip.open(packed, "wb", compresslevel=6) as file:
        shutil.copyfileobj(text, file, 1 << 20)
    size = history.stat().st_size
    with look_at(packed).open(text=True) as unpacked:
        began = time.perf_counter()
        unpacked.seek(size)
        return size / 1e6 / (time.perf_counter() - began)


if __name__ == "__main__":
    sys.exit(main())
