"""The command ``prestacop live`` (``make live``)."""

from collections.abc import Sequence
from typing import NoReturn

from pipelines.cli.app import run
from runners.live.flags import parser
from runners.live.parts import LiveOptions
from runners.live.run import live
from runners.services.services import PORTS


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """The command."""
    given = parser().parse_args(argv)
    given.ports = {name: getattr(given, f"{name}_port") for name in PORTS}
    options = LiveOptions(**{name: getattr(given, name) for name in LiveOptions._fields})
    run(lambda: live(options), "The lake is consistent, and make live resumes where it has stopped.")
