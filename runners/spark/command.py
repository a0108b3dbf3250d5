"""``make spark-up``, ``spark-status``, ``spark-down``, ``submit-spark``, ``follow-spark``."""

import argparse
from collections.abc import Sequence
from functools import partial

from runners.services import Services
from runners.services.clients import use_local_servers
from runners.services.group_command import GroupCommand, add_submit, parser_of, run_command
from runners.spark.cluster import GROUP
from terminal.arguments import Parser

_PROG = "prestacop spark"

COMMAND = GroupCommand(
    _PROG,
    GROUP,
    "A Spark cluster on this machine: a master, a worker, a pool of Python workers.",
    f"""\
  {_PROG} up
  {_PROG} submit --history 'tickets/*.csv' --lake s3://prestacop/lake
  {_PROG} submit --every 30s --messages kafka://localhost:9092/drones --lake s3://prestacop/lake
""",
    before_up=use_local_servers,
    add_actions=lambda actions, _: add_submit(actions, _PROG),
)


def _submit(argv: list[str], parser: Parser) -> None:
    from pipelines.cli.beam_imports import quick_imports  # noqa: PLC0415

    with quick_imports():  # of Beam: up, status and --help do without
        from pipelines.cli.cluster import Cluster  # noqa: PLC0415
        from pipelines.violations.run import SPARK_IS_BOUNDED  # noqa: PLC0415
        from pipelines.violations.run import main as run  # noqa: PLC0415
        from runners.spark.submit import on_spark  # noqa: PLC0415

    given, _ = parser.parse_known_args(argv)
    use_local_servers()
    place = partial(on_spark, services=Services(data=given.data, group=GROUP))
    run(argv, Cluster(parser, place, refuses_unbounded=SPARK_IS_BOUNDED))


def parser() -> argparse.ArgumentParser:
    """Of the command and its actions."""
    return parser_of(COMMAND)


def main(argv: Sequence[str]) -> int:
    """The command."""
    return run_command(COMMAND, argv, submit=_submit)
