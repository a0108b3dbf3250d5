"""A cluster that runs a pipeline instead of this process."""

import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any, NamedTuple

from apache_beam.options.pipeline_options import PipelineOptions

from terminal.arguments import Parser

Place = Callable[[PipelineOptions], AbstractContextManager[PipelineOptions]]
"""Gives the options that run the body's pipelines there. May raise :class:`pipelines.cli.app.JobEnded`."""


class Cluster(NamedTuple):
    """A cluster that a command submits to."""

    parser: Parser
    """Of the command that submits."""
    place: Place
    refuses_unbounded: str | None = None
    """Why it has no unbounded runs, and what to do instead."""
    leaving: str = "Units in the ledger are done"
    """What to print about the submitted job after Ctrl-C."""


def job_name(root: str) -> str:
    """The job's name in the cluster's pages: the lake and the time of the start."""
    lake = re.sub(r"[^a-z0-9]+", "-", root.rstrip("/").rpartition("/")[2].lower()).strip("-")
    return "-".join(filter(None, ("prestacop", lake, f"{datetime.now(UTC):%Y%m%d-%H%M%S}")))


def portable(
    options: PipelineOptions, endpoint: str, defaults: Mapping[str, Any] | None = None, **forced: Any
) -> PipelineOptions:
    """The same options for the job server at that address.

    Args:
        defaults: options that apply if the user does not give them.
        forced: options that replace those of the user.
    """
    given = options.get_all_options(drop_default=True)
    forced |= {"runner": "PortableRunner", "job_endpoint": endpoint}
    return PipelineOptions.from_dictionary({**(defaults or {}), **given, **forced})
