"""Checks that Beam's job server in Java listens on 127.0.0.1 only (decision 087)."""

import hashlib
from pathlib import Path
from typing import Final
from zipfile import BadZipFile, ZipFile

from apache_beam.options.pipeline_options import FlinkRunnerOptions, PipelineOptions, SparkRunnerOptions
from apache_beam.runners.portability.flink_runner import FlinkRunner
from apache_beam.runners.portability.spark_runner import SparkRunner
from apache_beam.runners.runner import PipelineRunner

CLASS: Final = "org/apache/beam/sdk/fn/server/ServerFactory$InetSocketAddressServerFactory.class"
OURS: Final = "a1320131cac24f619ac9c5db09d8e9f9f6419cf7852b4effffcaaac39766cfa1"
"""SHA-256 of the class that ``runners/services/beam_java/build.py`` makes of Beam's."""


def refusal(runner: PipelineRunner, options: PipelineOptions) -> str | None:
    """Why Beam must not start its job server for that runner; None: it may, or the runner starts none in Java."""
    if isinstance(runner, FlinkRunner):
        flag, jar = "--flink_job_server_jar", options.view_as(FlinkRunnerOptions).flink_job_server_jar
    elif isinstance(runner, SparkRunner):
        flag, jar = "--spark_job_server_jar", options.view_as(SparkRunnerOptions).spark_job_server_jar
    else:
        return None
    if jar and listens_here(Path(jar)):
        return None
    which = f"{flag} {jar}" if jar else "the job server that Beam would fetch"
    return (
        f"{which} takes pipelines from the whole network, here and in the cluster. Give {flag} the jar that make "
        "flink-up builds, or start Spark's job server as docs/clusters.md says; or, behind a firewall, --listen-on-all"
    )


def listens_here(jar: Path) -> bool:
    """Whether it is a jar of this project, whose servers listen on 127.0.0.1."""
    try:
        with ZipFile(jar) as found:
            return hashlib.sha256(found.read(CLASS)).hexdigest() == OURS
    except (OSError, BadZipFile, KeyError):  # not a jar, no such file, or no such class in it
        return False
