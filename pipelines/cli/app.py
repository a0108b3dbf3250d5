"""What every command shares: usage, exit codes, progress, and the last line when it is stopped."""

import argparse
import atexit
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from typing import NoReturn, TextIO, cast

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import SwitchingDirectRunner
from apache_beam.runners.portability.prism_runner import PrismRunner
from apache_beam.runners.runner import create_runner

from pipelines.cli import worker_process  # noqa: F401  # registers the class for workers as processes
from pipelines.cli.cluster import JobEnded
from pipelines.cli.commit_progress import Committed, kept_up_to_date
from pipelines.cli.data_buffers import send_whole_elements
from pipelines.cli.java_job_server import refusal
from pipelines.cli.loopback import listen_here_alone
from pipelines.cli.runner_options import DATAFLOW, FLINK_STREAMS, dataflow_faults
from pipelines.cli.temporary import own_temporary_folder
from pipelines.cli.worker_errors import known
from sources.progress import progress
from sources.units import ROWS_IN
from terminal import logs
from terminal.arguments import Parser
from terminal.bars import Bar
from terminal.every import every
from terminal.exits import ended
from terminal.logs import TracebacksAsRecords
from terminal.printing import guarded_output

PRISM = "PrismRunner"
STARTS_PRISM = (PrismRunner, SwitchingDirectRunner)
LOCAL_RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
"""What ``DirectRunner`` means here: Beam's own switch of that name takes Prism where it finds a binary of it."""
WITHOUT_END_SECONDS = 10 * 365 * 86_400


def beam_options(
    parser: argparse.ArgumentParser, rest: Sequence[str], streaming: bool = False, prism: bool = False
) -> PipelineOptions:
    """Parse the other flags as Beam's options; exits with code 2 if Beam does not know one either.

    Args:
        prism: whether the caller starts the project's own Prism for ``PrismRunner``. The one that Beam would fetch and
            start takes pipelines from the whole network.
    """
    usage = f"{parser.prog} [FLAG ...] [FLAG_OF_BEAM ...]"
    beam = Parser(prog=parser.prog, usage=usage, add_help=False, allow_abbrev=False)
    for options in PipelineOptions.__subclasses__():
        options._add_argparse_args(beam)
    known, unknown = beam.parse_known_args(list(rest))
    if unknown:
        text = f"unknown: {' '.join(unknown)}"
        parser.error(f"{text}; the flags are those above and those of Beam (prestacop run --help-beam)")
    given = vars(known)
    name = given.get("runner") or "DirectRunner"
    try:
        runner = create_runner(LOCAL_RUNNER if name == "DirectRunner" else name)
    except (ValueError, ImportError, AttributeError) as error:
        parser.error(f"--runner {name}: {error}")
    if isinstance(runner, STARTS_PRISM) and not (prism and name == PRISM):
        parser.error(f"--runner {name}: Beam would fetch a Prism that the whole network can reach; leave --runner out")
    if not given["listen_on_all"] and (why := refusal(runner, PipelineOptions(list(rest)))):
        parser.error(why)
    if given["dry_run"] and name != DATAFLOW:
        parser.error(f"--dry_run is an option of the {DATAFLOW} alone; --dry-run prints what would be read and written")
    if name == DATAFLOW and (fault := next(dataflow_faults(PipelineOptions(list(rest))), None)):
        parser.error(fault)
    if streaming or given.get("runner") not in (None, "DirectRunner"):
        flags = [*(FLINK_STREAMS if streaming and name != DATAFLOW else ()), *rest]
        # By default Beam cancels a job after 300 s without a message from the job server.
        return PipelineOptions(flags, streaming=streaming, job_server_timeout=WITHOUT_END_SECONDS)
    send_whole_elements()
    usual: dict[str, str | int] = {"direct_running_mode": "multi_threading", "direct_num_workers": os.cpu_count() or 1}
    defaults = {name: value for name, value in usual.items() if not any(f.startswith(f"--{name}") for f in rest)}
    if "direct_running_mode" in defaults:
        defaults["processes_for_long_inputs"] = True
    return PipelineOptions(list(rest), runner=LOCAL_RUNNER, **defaults)


@contextmanager
def progress_bar(label: str, quiet: bool) -> Iterator[None]:
    """Show on stderr how many of the planned bytes were read, while the body runs in this process."""

    def update(bar: Bar) -> None:
        bar.total = progress.bytes_planned
        bar.update(progress.bytes_done - bar.n)

    with (
        Bar(desc=label, unit="B", quiet=quiet) as bar,
        _shown(lambda: update(bar)),
    ):
        yield


@contextmanager
def stream_line(quiet: bool) -> Iterator[None]:
    """Show on stderr how many messages were read and how many wait, while the body runs in this process."""

    def update(bar: Bar) -> None:
        bar.note = ", ".join(f"{source} {lag.messages:,} behind" for source, lag in progress.lag.items())
        bar.update(progress.messages - bar.n)

    with (
        Bar(desc="reading", unit=" messages", quiet=quiet, seconds=0.9) as bar,
        _shown(lambda: update(bar)),
    ):
        yield


@contextmanager
def committed_line(root: str, quiet: bool) -> Iterator[None]:
    """Show on stderr what a cluster's workers have committed, while the body runs."""
    committed = Committed(root)

    def update(bar: Bar) -> None:
        bar.note = f"{committed.units:,} units, {committed.files:,} files"
        bar.update(committed.of(ROWS_IN) - bar.n)

    with (
        kept_up_to_date(committed),
        Bar(desc="committed", unit=" rows", quiet=quiet, seconds=0.9) as bar,
        _shown(lambda: update(bar)),
    ):
        yield


@contextmanager
def _shown(update: Callable[[], None]) -> Iterator[None]:
    """Call ``update`` every 0.2 s, and at the end."""
    try:
        with every(0.2, update):
            yield
    finally:
        update()


def run(command: Callable[[], int], resume: str) -> NoReturn:
    """Run a command and exit with its code; known errors are printed as one line and have their own code.

    Args:
        command: returns the exit code.
        resume: what to print after Ctrl-C: how to resume.
    """
    listen_here_alone()
    with guarded_output():
        _run(command, resume)


def _run(command: Callable[[], int], resume: str) -> NoReturn:
    def guarded() -> int:
        with own_temporary_folder(), redirect_stderr(cast(TextIO, TracebacksAsRecords(sys.stderr))):
            try:
                return command()
            except JobEnded as ended_there:
                logs.COMMAND.warning("\n%s", ended_there, extra={"exit_code": ended_there.exit_code})
                return ended_there.exit_code
            finally:
                atexit._run_exitfuncs()  # Beam stops the job servers that it has started in them

    sys.exit(ended(guarded, resume, known))
