"""What the tests of deploy/ share."""

import argparse
import os
from pathlib import Path

import pytest

from pipelines.cli import java_job_server
from pipelines.cli.runner import beam_options
from pipelines.violations.options import UNBOUNDED
from prestacop.commands import SUBCOMMANDS
from prestacop.parsers import parser_of
from runners.services.programs import HOME, Program

DEPLOY = Path(__file__).parents[2] / "deploy"


def installed(program: Program) -> str:
    """The path of a program. Without it the test is skipped, but in CI, which installs it before."""
    if not program.is_installed(HOME) and "CI" not in os.environ:
        pytest.skip(f"{program.name} is not installed: python -m tests.deploy.programs")
    return str(program.install(HOME))


def parse(command: list[str]) -> argparse.Namespace:
    """The arguments of a ``prestacop`` command line; exits for a flag that neither its parser nor Beam's has."""
    name, *given = command[1:]
    assert command[0] == "prestacop"
    parser: argparse.ArgumentParser = parser_of(name)
    if not SUBCOMMANDS[name].takes_beam_flags:
        return parser.parse_args(given)
    with pytest.MonkeyPatch.context() as patch:  # directories and the jar are in the image, or of a volume
        patch.setattr(Path, "is_dir", lambda path: True)
        patch.setattr(java_job_server, "listens_here", lambda jar: True)
        arguments, rest = parser.parse_known_args(given)
        beam_options(parser, rest, streaming=getattr(arguments, "mode", None) == UNBOUNDED, prism=True)
    return arguments
