"""``python -m pipelines.violations``: plan the input, run the graph over it, say what happened."""

import argparse
import os
import shlex
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, PrismRunnerOptions, StandardOptions

from pipelines.command import beam_options, progress_bar, run, stream_line
from pipelines.dry_run import dry_run
from pipelines.inputs import Asked, followed, planned
from pipelines.options import UNBOUNDED, add_arguments
from pipelines.prism import find_prism, prism
from pipelines.summary import summary, units_of
from pipelines.violations import Settings, violations
from sources.progress import progress

WITHOUT_END_SECONDS = 10 * 365 * 86_400
PATIENT_ATTEMPTS = 12
"""Requests to S3 in a run without end: some two minutes, in which a server may be started again."""

EXAMPLES = """\
examples:
  python -m pipelines.violations --history 'tickets/*.csv.gz' --output data/lake
  python -m pipelines.violations --messages file:fleet.jsonl --output s3://prestacop/lake
  python -m pipelines.violations --messages kafka://localhost:9092/drones --output data/lake
  python -m pipelines.violations --messages pubsub://project/drones-lake --mode unbounded --output s3://prestacop/lake
  python -m pipelines.violations --history kafka://localhost:9092/tickets --output data/lake
  python -m pipelines.violations --history tickets.csv --output data/lake --dry-run

A topic is read from where the lake ends: bounded up to now, unbounded without end (on Prism here, on Flink). Options of
librdkafka follow the topic: kafka://broker:9093/drones?security.protocol=SASL_SSL&sasl.mechanisms=PLAIN&sasl.username=me;
passwords come from the environment (KAFKA_SASL_PASSWORD).

Beam's own options may follow (--runner, --direct_num_workers, ...). S3 keys and the endpoint come from the AWS
credential chain and AWS_ENDPOINT_URL.

exit codes: 0 done, 1 the rows do not add up, 2 wrong usage, 3 input unusable, 4 service unavailable, 5 disk full
"""


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.violations",
        description="History and drone messages -> a Parquet lake with exact statistics and a ledger.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_arguments(parser)
    arguments, rest = parser.parse_known_args(argv)
    if not arguments.output:
        parser.error("--output is missing: say where the lake is, for example --output data/lake")
    if not (arguments.history or arguments.messages or arguments.images):
        parser.error("nothing to read: give --history, --messages or --images")
    if arguments.live:  # with more threads than elements Beam 2.77 cannot read the panes of a window
        rest = ["--direct_num_workers=1", *rest]
    if arguments.live and not Path(arguments.live).absolute().parent.is_dir():
        parser.error(f"--live file:{arguments.live}: there is no such directory; make it first")
    options = beam_options(parser, rest, streaming=arguments.mode == UNBOUNDED)
    prism_binary = _prism(parser, options) if arguments.mode == UNBOUNDED else None
    again = shlex.join(["python", "-m", "pipelines.violations", *argv])
    run(
        lambda: _command(arguments, options, prism_binary),
        f"Units in the ledger are done; to go on with the others run again:\n  {again}",
    )


def run_graph(asked: Asked, to: Settings, options: PipelineOptions) -> None:
    """Read everything up to now, in one pipeline after another where it is long."""
    todo = planned(asked, to.root)
    progress.planned(todo.size())
    for inputs in todo.runs(to.root):
        with beam.Pipeline(options=options) as pipeline:
            violations(pipeline, inputs, to)
    todo.tidy(to.root)


def run_and_tell(asked: Asked, to: Settings, options: PipelineOptions, quiet: bool) -> list[str]:
    """The same under a progress bar; gives the lines of the summary."""
    before, started = units_of(to.root), time.monotonic()
    with progress_bar("reading", quiet):
        run_graph(asked, to, options)
    return list(summary(to.root, before, time.monotonic() - started))


def follow(asked: Asked, to: Settings, options: PipelineOptions, skew: float, quiet: bool) -> None:
    """Read topics without end, until somebody stops it; the options name a runner that streams."""
    os.environ.setdefault("AWS_MAX_ATTEMPTS", str(PATIENT_ATTEMPTS))
    pipeline = beam.Pipeline(options=options)
    violations(pipeline, followed(asked, to.root, skew), to)
    try:
        with stream_line(quiet):
            pipeline.run().wait_until_finish()
    except KeyboardInterrupt:
        threading.excepthook = lambda _: None  # the threads of the worker will miss their runner
        raise


@contextmanager
def on_prism(options: PipelineOptions, binary: str) -> Iterator[PipelineOptions]:
    """The options that run the body's pipelines on a Prism of their own, with the workers in this process."""
    with prism(binary) as endpoint:
        yield PipelineOptions.from_dictionary(
            options.get_all_options(drop_default=True)
            | {
                "runner": "PortableRunner",
                "job_endpoint": endpoint,
                "environment_type": "LOOPBACK",
                # Beam gives up listening to the job, and with it the job, after 300 s.
                "job_server_timeout": WITHOUT_END_SECONDS,
            }
        )


def _prism(parser: argparse.ArgumentParser, options: PipelineOptions) -> str | None:
    """The binary, where Prism is to be the runner; ends with exit code 2 where no runner that streams is at hand."""
    runner = options.view_as(StandardOptions).runner
    if runner not in (None, "DirectRunner", "PrismRunner"):
        return None
    if runner == "DirectRunner":
        parser.error("the DirectRunner reads nothing without end: leave --runner out for Prism, or take FlinkRunner")
    given = options.view_as(PrismRunnerOptions).prism_location
    binary = find_prism(given)
    if binary is None and given:
        parser.error(f"--prism_location {given} is no program; make services-install builds one that is found without")
    if binary is None:
        parser.error("--mode unbounded needs Prism, which is not built yet: make services-install, or --prism_location")
    return binary


def _command(arguments: argparse.Namespace, options: PipelineOptions, prism_binary: str | None) -> int:
    asked = Asked(arguments.history, arguments.messages, arguments.images, arguments.accept_loss)
    to = Settings(arguments.output, arguments.window, arguments.live, arguments.live_window, arguments.allowed_lateness)
    if arguments.dry_run:
        print("\n".join(dry_run(asked, to.root)))
    elif prism_binary:
        with on_prism(options, prism_binary) as on:
            follow(asked, to, on, arguments.skew, arguments.quiet)
    elif arguments.mode == UNBOUNDED:
        follow(asked, to, options, arguments.skew, arguments.quiet)
    else:
        print("\n".join(run_and_tell(asked, to, options, arguments.quiet)))
    return 0
