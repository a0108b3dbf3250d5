"""Prism, Beam's local runner for unbounded runs."""

import glob
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from apache_beam.options.pipeline_options import DebugOptions, PipelineOptions

from pipelines.cli.cluster import portable
from pipelines.cli.job_server import job_server
from terminal import logs

BUILT = ".services/prism-*/prism"
"""Where ``make services-install`` installs it."""
UNSPLIT = "prism_disable_sdf_split"
"""Without it Prism may split a slow bundle between two elements of one key, and both halves read the key's state."""


def find_prism(given: str | None) -> str | None:
    """The path of the binary: the given one, the project's own, or one on the PATH; None if there is none."""
    if given:
        return shutil.which(given)
    # Older versions stay installed.
    return max(glob.glob(BUILT), key=os.path.getmtime, default=None) or shutil.which("prism")


@contextmanager
def on_prism(options: PipelineOptions, binary: str) -> Iterator[PipelineOptions]:
    """The options that run the body's pipelines on a Prism of their own, with the workers in this process."""

    kind = logs.JSON if logs.is_json() else logs.TEXT
    level = "debug" if logging.getLogger().isEnabledFor(logging.DEBUG) else "warn"

    def command(port: int) -> list[str]:
        return [binary, f"--job_port={port}", "--serve_http=false", f"--log_kind={kind}", f"--log_level={level}"]

    experiments = [*(options.view_as(DebugOptions).experiments or ()), UNSPLIT]
    with job_server("Prism", command) as endpoint:
        yield portable(options, endpoint, environment_type="LOOPBACK", experiments=experiments)
