"""``prestacop run``: plan the input, run the graph over it, say what happened."""

import argparse
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import NoReturn

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    PrismRunnerOptions,
    StandardOptions,
    TestOptions,
)

from lake import Lake
from lake.faults import faults
from lake.format import check
from lake.memory import share_memory
from lake.news import mark
from lake.publication import publish
from lake.retries import PATIENCE
from lake.storage import storage
from lake.tables import check_name
from messaging.retry import PATIENCE_SECONDS
from pipelines.cli.app import committed_line, progress_bar, run, stream_line
from pipelines.cli.cluster import Cluster, Place, job_name
from pipelines.cli.prism import find_prism, on_prism
from pipelines.cli.runner import PRISM, beam_options
from pipelines.cli.runner_options import DATAFLOW, for_long_input
from pipelines.cli.worker_errors import known
from pipelines.violations import options as flags
from pipelines.violations.dry_run import dry_run
from pipelines.violations.graph import Inputs, Settings, violations
from pipelines.violations.inputs import ReadOptions, plan, unplanned
from pipelines.violations.inputs import follow as follow_inputs
from pipelines.violations.options import UNBOUNDED
from pipelines.violations.summary import summary
from schemas.answers import load_public_keys
from schemas.dead_letter_share import DEFAULT_SHARE
from schemas.errors import FINAL, OutputUnusable, ServiceUnavailable
from sources.progress import progress
from terminal.logs import COMMAND
from transforms.alerts.channels import open_channel
from transforms.publish import PublishEvery

FAILURES = 3
"""``--every`` ends after so many runs in a row that failed because a service did not answer."""

SPARK_IS_BOUNDED = (
    "Spark has no unbounded runs: Beam's runner for it (2.70) has no handler for a source that defers its residual. "
    "Follow the topic with --every 30s instead of --mode unbounded, or take Flink"
)


def main(argv: Sequence[str] | None = None, cluster: Cluster | None = None) -> None:
    """The command; where a cluster is given, it runs there."""
    argv = sys.argv[1:] if argv is None else argv
    parser = cluster.parser if cluster else flags.parser()
    arguments, rest = parser.parse_known_args(argv)
    unbounded = arguments.mode == UNBOUNDED
    if arguments.live:
        # With more threads than elements Beam 2.77 cannot read a window's panes.
        rest = ["--direct_num_workers=1", *rest]
    options = beam_options(parser, rest, streaming=unbounded, prism=cluster is None)
    google = options.view_as(GoogleCloudOptions)
    google.job_name = google.job_name or job_name(arguments.lake)
    runner = options.view_as(StandardOptions).runner
    if unbounded and runner == "SparkRunner":
        parser.error(SPARK_IS_BOUNDED)
    if cluster is None:
        place: Place = _on_prism_or_as_given(parser, options) if unbounded or runner == PRISM else nullcontext
    elif unbounded and cluster.refuses_unbounded:
        parser.error(cluster.refuses_unbounded)
    else:
        place = cluster.place
    done = cluster.leaving if cluster else "Units in the ledger are done"
    run(
        lambda: _command(arguments, options, place, shown_by_ledger=cluster is not None or runner == DATAFLOW),
        f"{done}; to go on with the others run again:",
        [*parser.prog.split(), *argv],
    )


def run_graph(reading: ReadOptions, settings: Settings, options: PipelineOptions) -> None:
    """Read the inputs up to their current end; a long input is read by several pipelines, one after another."""
    planned = plan(reading, settings.root)
    progress.planned(planned.size())
    if planned.is_long():
        options = for_long_input(options)
    for inputs in planned.runs():
        with beam.Pipeline(options=options) as pipeline:
            violations(pipeline, inputs, settings)
    planned.finish()
    if settings.publish_every is not None:
        publish(settings.root)


def run_and_summarize(
    reading: ReadOptions, settings: Settings, options: PipelineOptions, shown: AbstractContextManager[None]
) -> list[str]:
    """Run the graph and show its progress; returns the lines of the summary."""
    before, started = mark(Lake(settings.root)), time.monotonic()
    with shown:
        run_graph(reading, settings, options)
    return list(summary(settings.root, before, time.monotonic() - started))


def follow(
    reading: ReadOptions, settings: Settings, options: PipelineOptions, skew: float, shown: AbstractContextManager[None]
) -> None:
    """Read topics continuously until the process is stopped; the options name a runner for unbounded runs."""
    os.environ.setdefault(PATIENCE, str(PATIENCE_SECONDS))
    share_memory()
    pipeline = beam.Pipeline(options=options)
    unbounded_graph(pipeline, follow_inputs(reading, settings.root, skew), settings)
    try:
        with shown:
            pipeline.run().wait_until_finish()
    except KeyboardInterrupt:
        threading.excepthook = lambda _: None  # threads of the worker fail when their runner ends
        raise


def unbounded_graph(pipeline: beam.Pipeline, inputs: Inputs, settings: Settings) -> None:
    """Build the graph of a continuous run."""
    violations(pipeline, inputs, settings)
    if settings.publish_every is not None:
        _ = pipeline | "Tables" >> PublishEvery(settings.root, settings.publish_every)


def translated(reading: ReadOptions, settings: Settings, options: PipelineOptions, skew: float | None) -> str:
    """Build the job of a run, and submit none; returns a line about it.

    Args:
        skew: of an unbounded run; None for a bounded one. What it would read is not planned: that would write to the
            lake, and acknowledge messages.
    """
    pipeline = beam.Pipeline(options=options)
    if skew is None:
        violations(pipeline, unplanned(reading, settings.root), settings)
    else:
        unbounded_graph(pipeline, follow_inputs(reading, settings.root, skew), settings)
    job = pipeline.run().job
    kind = "streaming" if pipeline.options.view_as(StandardOptions).streaming else "batch"
    steps = len(job.proto_pipeline.components.transforms)
    return f"{DATAFLOW}: a {kind} job of {steps} transforms, {job.proto.name}, is built and not submitted"


def _on_prism_or_as_given(parser: argparse.ArgumentParser, options: PipelineOptions) -> Place:
    """The runner of an unbounded run; exits with code 2 where none is available."""
    runner = options.view_as(StandardOptions).runner
    if runner not in (None, "DirectRunner", PRISM):
        return nullcontext
    if runner == "DirectRunner":
        parser.error("the DirectRunner has no unbounded runs: leave --runner out for Prism, or use FlinkRunner")
    given = options.view_as(PrismRunnerOptions).prism_location
    binary = find_prism(given)
    if binary is None and given:
        parser.error(f"--prism_location {given} is not executable; make services-install builds one that needs no flag")
    if binary is None:
        parser.error("this needs Prism, which is not built yet: make services-install, or --prism_location")
    return partial(on_prism, binary=binary)


def _command(arguments: argparse.Namespace, options: PipelineOptions, place: Place, shown_by_ledger: bool) -> int:
    check(arguments.lake)
    given = arguments.max_dead_letters
    reading = ReadOptions(
        arguments.history, arguments.messages, arguments.images, arguments.accept_loss,
        DEFAULT_SHARE if given is None else given, stops_known_topics=given is not None,
    )  # fmt: skip
    settings = Settings(
        arguments.lake, arguments.window, arguments.live, arguments.live_window, arguments.allowed_lateness,
        load_public_keys(arguments.officer_keys) if arguments.officer_keys else (),
        tuple(filter(None, (arguments.alerts, arguments.alert_webhook, arguments.alert_email))),
        arguments.publish_every if arguments.publish == flags.ON else None,
        with_pictures=arguments.images is not None,
    )  # fmt: skip
    for target in settings.alerts:
        open_channel(target).close()  # an error here is one line; in a worker it would be a traceback
    if arguments.dry_run:
        print("\n".join(dry_run(reading, settings.root)))
        return 0
    if options.view_as(TestOptions).dry_run:
        print(translated(reading, settings, options, arguments.skew if arguments.mode == UNBOUNDED else None))
        return 0
    _probe(settings)
    with _metrics(arguments):
        _read(arguments, reading, settings, options, place, shown_by_ledger)
    return 0


def _metrics(arguments: argparse.Namespace) -> AbstractContextManager[None]:
    if arguments.metrics_port is None:
        return nullcontext()
    from pipelines.violations.metrics import serving_run  # noqa: PLC0415

    return serving_run(arguments)


def _read(
    arguments: argparse.Namespace, reading: ReadOptions, settings: Settings, options: PipelineOptions, place: Place,
    shown_by_ledger: bool,
) -> None:  # fmt: skip
    """Run the graph in the mode of the arguments."""
    quiet = arguments.quiet
    if arguments.mode == UNBOUNDED:
        with place(options) as on:
            shown = committed_line(settings.root, quiet) if shown_by_ledger else stream_line(quiet)
            follow(reading, settings, on, arguments.skew, shown)
        return

    def run_once() -> None:
        shown = committed_line(settings.root, quiet) if shown_by_ledger else progress_bar("reading", quiet)
        with place(options) as on:
            print("\n".join(run_and_summarize(reading, settings, on, shown)), flush=True)

    if arguments.every:
        _run_every(run_once, arguments.every)
    run_once()


def _probe(settings: Settings) -> None:
    """Check that the outputs can be written before the run starts. Raises as :meth:`lake.storage.Storage.probe`."""
    storage(settings.root).probe()
    if settings.publish_every is not None:
        check_name(settings.root)
    if settings.live:
        try:
            with faults(settings.live), Path(settings.live).open("ab"):
                pass
        except FileNotFoundError as error:
            raise OutputUnusable(f"{settings.live}: {error.strerror}; choose another place") from error


def _run_every(run_once: Callable[[], None], every: float) -> NoReturn:
    """Start a bounded run every ``every`` seconds.

    Raises the error of the last run after FAILURES failed runs in a row, and at once an error that no retry fixes.
    """
    failures = 0
    while True:
        started = time.monotonic()
        try:
            run_once()
            failures = 0
        except (ServiceUnavailable, RuntimeError) as error:  # the latter: a job that failed on a cluster
            failures += 1
            if failures == FAILURES or isinstance(known(error), FINAL):
                raise
            COMMAND.error("%s; the next run tries again", error)
        time.sleep(max(0, every - (time.monotonic() - started)))
