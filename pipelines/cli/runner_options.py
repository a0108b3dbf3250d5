"""The options of runners that Beam does not declare, and what the DataflowRunner needs before a graph is built."""

import argparse
from collections.abc import Iterator
from typing import Final

from apache_beam.options.pipeline_options import DirectOptions, GoogleCloudOptions, PipelineOptions

from pipelines.cli.beam_imports import import_dataflow

DATAFLOW: Final = "DataflowRunner"
FLINK_STREAMS: Final = ("--finish_bundle_before_checkpointing", "--operator_chaining=false")
"""Without them Flink loses the output of a bundle during a checkpoint, and a savepoint restores to another parallelism
only where neither is 1 (decision 012)."""


class FlinkJobOptions(PipelineOptions):  # type: ignore[misc]  # Beam's classes are untyped
    """Options of Flink's job server that Beam's Python does not declare; it drops undeclared ones without a warning."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--checkpointing_interval", type=int, help="milliseconds between checkpoints")
        parser.add_argument("--finish_bundle_before_checkpointing", action="store_true", default=None)
        parser.add_argument("--savepoint_path", help="a savepoint or checkpoint to resume from")
        parser.add_argument("--allow_non_restored_state", action="store_true", default=None)
        parser.add_argument("--retain_externalized_checkpoints_on_cancellation", action="store_true", default=None)
        parser.add_argument(
            "--operator_chaining", choices=("true", "false"), help="run steps in one thread where possible"
        )
        parser.add_argument("--state_backend", help="hashmap or rocksdb")
        parser.add_argument("--state_backend_storage_path", help="where checkpoints are kept: file:, s3:, gs:, ...")


class OpenPorts(PipelineOptions):  # type: ignore[misc]  # Beam's classes are untyped
    """An option of the project, for every command that passes options on to Beam."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        text = "start a job server in Java that others did not build here, whose ports the whole network reaches"
        parser.add_argument("--listen-on-all", "--listen_on_all", action="store_true", default=None, help=text)


class LocalOptions(PipelineOptions):  # type: ignore[misc]  # Beam's classes are untyped
    """What the local runner does where ``--direct_running_mode`` is not given."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        text = "read long inputs with worker processes, not threads; set where --direct_running_mode is not"
        parser.add_argument("--processes_for_long_inputs", action="store_true", default=None, help=text)


def for_long_input(options: PipelineOptions) -> PipelineOptions:
    """The same options, with worker processes instead of threads where the user has not chosen and cores allow it."""
    by_size = options.view_as(LocalOptions).processes_for_long_inputs
    if not by_size or options.view_as(DirectOptions).direct_num_workers == 1:
        return options
    given = options.get_all_options(drop_default=True) | {"direct_running_mode": "multi_processing"}
    return PipelineOptions.from_dictionary(given)


def dataflow_faults(options: PipelineOptions) -> Iterator[str]:
    """What keeps the DataflowRunner from building a job: Beam itself would end with a traceback, or make a bucket."""
    try:
        import_dataflow()
    except ImportError as error:
        yield f"--runner {DATAFLOW} needs more packages ({error}): pip install '.[gcp]' in the repository"
    google = options.view_as(GoogleCloudOptions)
    for name in ("project", "region", "temp_location"):
        if not getattr(google, name):
            yield f"--runner {DATAFLOW} needs --{name}"
    if google.temp_location and not google.temp_location.startswith("gs://"):
        yield f"--temp_location {google.temp_location}: write gs://BUCKET/PREFIX"
