"""Where a pipeline runs that does not run in this process."""

import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any, NamedTuple

from apache_beam.options.pipeline_options import PipelineOptions

Place = Callable[[PipelineOptions], AbstractContextManager[PipelineOptions]]
"""Gives the options that run the body's pipelines there. May raise :class:`JobEnded`."""


class JobEnded(Exception):  # it went well, or somebody wanted it
    """Somebody has ended the job in the cluster; the message says how one goes on."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Cluster(NamedTuple):
    """A cluster that a command submits to."""

    command: str
    """How it is called, for people."""
    place: Place
    refuses_unbounded: str | None = None
    """Why nothing can be read there without end, and what to do."""
    leaving: str = "Units in the ledger are done"
    """What to say after Ctrl-C about the job that was submitted."""


def job_name(root: str) -> str:
    """A name that people find in a cluster's pages: of the lake, and of now."""
    lake = re.sub(r"[^a-z0-9]+", "-", root.rstrip("/").rpartition("/")[2].lower()).strip("-")
    return "-".join(filter(None, ("prestacop", lake, f"{datetime.now(UTC):%Y%m%d-%H%M%S}")))


def portable(
    options: PipelineOptions, endpoint: str, defaults: Mapping[str, Any] | None = None, **forced: Any
) -> PipelineOptions:
    """The same options for the job server at that address.

    Args:
        defaults: options that count where the user said nothing.
        forced: options that count whatever the user said.
    """
    given = options.get_all_options(drop_default=True)
    forced |= {"runner": "PortableRunner", "job_endpoint": endpoint}
    return PipelineOptions.from_dictionary({**(defaults or {}), **given, **forced})
