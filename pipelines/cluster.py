"""Where a pipeline runs that does not run in this process."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from apache_beam.options.pipeline_options import PipelineOptions

Place = Callable[[PipelineOptions], AbstractContextManager[PipelineOptions]]
"""Gives the options that run the body's pipelines there."""


class Cluster(NamedTuple):
    """A cluster that a command submits to."""

    command: str
    """How it is called, for people."""
    place: Place
    refuses_unbounded: str | None = None
    """Why nothing can be read there without end, and what to do."""
    leaving: str = "Units in the ledger are done"
    """What to say after Ctrl-C about the job that was submitted."""


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
