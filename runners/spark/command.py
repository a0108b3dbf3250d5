"""``make spark-up``, ``spark-status``, ``spark-down``, ``submit-spark``, ``follow-spark``."""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from pipelines.cli.cluster import Cluster
from pipelines.violations.run import SPARK_IS_BOUNDED
from pipelines.violations.run import main as run
from runners.services import Services
from runners.services.clients import use_local_servers
from runners.services.group_command import Command, run_command
from runners.spark.cluster import GROUP
from runners.spark.submit import on_spark

_PROG = "prestacop spark"

COMMAND = Command(
    _PROG,
    GROUP,
    "A Spark cluster on this machine: a master, a worker, a pool of Python workers. "
    "submit runs the graph there: flags of prestacop run (submit --help).",
    f"""\
  {_PROG} up
  {_PROG} submit --history 'tickets/*.csv' --lake s3://prestacop/lake
  {_PROG} submit --every 30s --messages kafka://localhost:9092/drones --lake s3://prestacop/lake
""",
    before_up=use_local_servers,
)


def _submit(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--data", type=Path)
    known, rest = parser.parse_known_args(argv)
    use_local_servers()
    place = partial(on_spark, services=Services(data=known.data, group=GROUP))
    run(rest, Cluster(f"{_PROG} submit", place, refuses_unbounded=SPARK_IS_BOUNDED))


def main(argv: Sequence[str]) -> int:
    """The command."""
    return run_command(COMMAND, argv, submit=_submit)
