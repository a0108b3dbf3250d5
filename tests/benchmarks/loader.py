"""``python -m tests.benchmarks.loader``: what the loader takes, to each target, whatever the file's size.

Makes a file of 12 M rows (2.9 GB) unless one is given, loads it to servers of its own, prints speed and peak memory.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from subprocess import PIPE

import boto3

from runners.services import NAMES, Services, free_port
from tests.benchmarks.measure import Usage
from tests.services.support import Subscription, make_topic
from tests.support import make_history

ROWS = 12_000_000
LIMITS_MB = {"file": 40, "kafka": 40, "s3": 96, "pubsub": None}
"""Peak RSS, in 10^6 bytes; for Pub/Sub what its client alone takes is said beside. Its server keeps all in memory."""
CLIENT = "from google.pubsub_v1 import PublisherClient"
_SMALL = """
import resource, subprocess, sys, time
began = time.perf_counter()
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e6)
"""
ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """The command; 0 if each target is within its limit."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.loader", description=__doc__)
    parser.add_argument("--history", type=Path, metavar="FILE", help="load this one")
    parser.add_argument("--rows", type=int, default=ROWS, metavar="N", help="of the file that is made (12000000)")
    parser.add_argument("--targets", nargs="+", choices=LIMITS_MB, default=["file", "kafka", "s3"])
    arguments = parser.parse_args()
    good = True
    with tempfile.TemporaryDirectory(prefix="prestacop-loader-") as name:
        folder = Path(name)
        services = Services(data=folder / "services", ports={name: free_port() for name in NAMES})
        try:
            history = arguments.history or make_history(folder / "year.csv", arguments.rows)
            size = history.stat().st_size
            print(f"{history.name}: {size / 1e6:,.0f} MB\n")
            print("| to | MB/s | CPU s | peak RSS MB | limit |\n|---|---:|---:|---:|---:|")
            for target in arguments.targets:
                url = _up(services, target, folder)
                flags = ["--to", url, "--journal", str(folder / "journals"), "--quiet"]
                usage = measured([sys.executable, "-m", "prestacop", "load", str(history), *flags])
                figures = f"{size / 1e6 / usage.wall_s:.0f} | {usage.cpu_s:.0f} | {usage.peak_mb:.1f}"
                limit = LIMITS_MB[target]
                said = limit or f"the client alone: {measured([sys.executable, '-c', CLIENT]).peak_mb:.1f}"
                print(f"| {target} | {figures} | {said} |", flush=True)
                good &= limit is None or usage.peak_mb <= limit
        finally:
            services.down(clean=True)
    return 0 if good else 1


def measured(command: list[str]) -> Usage:
    """What a command took, started by a small process: a child inherits the peak of the one that forked it."""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", _SMALL, *command], cwd=ROOT, stdout=PIPE, check=True)
    return Usage(*map(float, done.stdout.split()[-3:]))


def _up(services: Services, target: str, folder: Path) -> str:
    if target == "file":
        return f"file:{folder}/out"
    services.up(target)
    os.environ.update(services.environment(target))
    if target == "kafka":
        return make_topic(os.environ["KAFKA_BOOTSTRAP_SERVERS"], "tickets", partitions=1)
    if target == "pubsub":
        with Subscription("tickets") as subscription:
            return subscription.url
    boto3.client("s3").create_bucket(Bucket="loaded")
    return "s3://loaded/history"


if __name__ == "__main__":
    sys.exit(main())
