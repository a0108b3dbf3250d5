"""``prestacop run-local``: simulated input or yours, the graph on the DirectRunner, the answers, a report."""

import argparse
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from apache_beam.options.pipeline_options import PipelineOptions

from lake import Lake
from lake.format import check
from lake.news import mark
from lake.storage import storage
from pipelines.analysis.command import answers, print_answers
from pipelines.analysis.html_report import check_report, write_report
from pipelines.analysis.kept import keep_answers, kept_answers, key_of
from pipelines.cli.app import progress_bar, run
from pipelines.cli.runner import beam_options
from pipelines.violations.graph import Settings
from pipelines.violations.inputs import ReadOptions, is_in_lake
from pipelines.violations.run import run_and_summarize
from pipelines.violations.summary import summary
from runners.local_flags import parser as flags
from schemas.dead_letter_share import DEFAULT_SHARE
from schemas.files.marks import Mark, make_folder
from terminal import logs
from terminal.settings import without_settings
from transforms.stats import HOUR

SEED = 1
WEEK_START = "2026-05-11T04:00:00Z"
"""Monday, midnight in New York. The fleet flies a bit of each hour of a week: a single hour would be the busiest of the
week in the report. May is in the quarter that is the busiest in the city's tickets as well."""


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    parser = flags()
    arguments, rest = parser.parse_known_args(argv)
    options = beam_options(parser, rest)
    run(lambda: _command(arguments, options), "Run make run-local again: what is in the ledger is not read twice.")


def _command(arguments: argparse.Namespace, options: PipelineOptions) -> int:
    root = arguments.lake or str(arguments.data / "lake")
    report = arguments.report or arguments.data / "report.html"
    check(root)
    storage(root).probe()
    check_report(report)
    history, messages = arguments.history, arguments.messages
    is_made = history is None and messages is None
    if is_made or arguments.data in (Path(root).parent, report.parent):
        make_folder(arguments.data, Mark.KEPT)
    if is_made:
        history, messages = _make_input(arguments)
    given = arguments.max_dead_letters
    read_options = ReadOptions(history, messages, max_dead_letters=DEFAULT_SHARE if given is None else given)
    key = partial(key_of, root, str(history), str(messages))
    started = time.monotonic()
    found = kept_answers(report, key())
    if found and is_in_lake(read_options, root):
        lines = list(summary(root, mark(Lake(root)), time.monotonic() - started))
        remark = f", unchanged since {found.asked_at}"
    else:
        shown = progress_bar("reading", arguments.quiet)
        lines = run_and_summarize(read_options, Settings(root, HOUR, publish_every=0), options, shown)
        before = key()
        found, remark = answers(root, options), ""
        write_report(found, report)
        if key() == before:  # else somebody wrote to the lake meanwhile
            keep_answers(report, before, found)
    print("\n".join(lines), end="\n\n")
    print_answers(found)
    print(f"\nlake    {root}\nreport  {report}{remark}")
    quoted = shlex.quote(root)
    print(f"next    make reconcile LAKE={quoted}    or    make analyze LAKE={quoted}")
    return 0


def _make_input(arguments: argparse.Namespace) -> tuple[str, str]:
    """The paths of a history and a recording; made once for each size."""
    made = arguments.data / "input"
    make_folder(made, Mark.REBUILT)
    history = made / f"history-{arguments.rows}.csv"
    messages = made / f"week-{arguments.drones}x{arguments.seconds}s.jsonl"
    if not history.exists():
        _simulate("history", "--rows", str(arguments.rows), "--output", str(history), quiet=arguments.quiet)
    if not messages.exists():
        fleet = ("--drones", str(arguments.drones), "--seconds", str(arguments.seconds), "--rate", "1")
        week = ("--start", WEEK_START, "--days", "7")
        dirt = ("--duplicates", "0.01", "--disorder", "5", "--corrupt", "0.0005", "--v0-share", "0.1")
        _simulate("drones", *fleet, *week, *dirt, "--output", f"file:{messages}", quiet=arguments.quiet)
    return str(history), str(messages)


def _simulate(*arguments: str, quiet: bool) -> None:
    command = [sys.executable, "-m", "prestacop", "simulate", *arguments, "--seed", str(SEED), *logs.flags()]
    words = [*command, "--quiet"] if quiet else command
    finished = subprocess.run(words, check=False, env=without_settings(os.environ))
    if finished.returncode:
        sys.exit(finished.returncode)  # it has printed the reason
