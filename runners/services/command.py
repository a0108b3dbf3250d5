"""``make services-up``, ``services-down``, ``services-status``."""

import argparse
from collections.abc import Sequence

from runners.services.group_command import GroupCommand, parser_of, run_command
from runners.services.services import SERVERS

_PROG = "prestacop services"
COMMAND = GroupCommand(
    _PROG,
    SERVERS,
    "Kafka, Pub/Sub and S3 servers on this machine, from package registries, without Docker.",
    f"""\
  {_PROG} up                      all three; Prism is built as well
  {_PROG} up kafka --kafka-port 9192
  {_PROG} down --clean            stop them and remove their data
  eval "$({_PROG} status --env)"  lets the commands of this shell use them
""",
)


def parser() -> argparse.ArgumentParser:
    """Of the command and its actions."""
    return parser_of(COMMAND)


def main(argv: Sequence[str]) -> int:
    """The command."""
    return run_command(COMMAND, argv)
