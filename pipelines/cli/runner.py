"""The options of Beam that a command was given, and the runner that they name."""

import argparse
import os
from collections.abc import Sequence

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import SwitchingDirectRunner
from apache_beam.runners.portability.prism_runner import PrismRunner
from apache_beam.runners.runner import create_runner

from pipelines.cli import worker_process  # noqa: F401  # registers the class for workers as processes
from pipelines.cli.data_buffers import send_whole_elements
from pipelines.cli.java_job_server import refusal
from pipelines.cli.loopback import listen_here_alone
from pipelines.cli.runner_options import DATAFLOW, FLINK_STREAMS, dataflow_faults
from terminal.arguments import Parser

PRISM = "PrismRunner"
STARTS_PRISM = (PrismRunner, SwitchingDirectRunner)
LOCAL_RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
"""What ``DirectRunner`` means here: Beam's own switch of that name takes Prism where it finds a binary of it."""
WITHOUT_END_SECONDS = 10 * 365 * 86_400


def beam_options(
    parser: argparse.ArgumentParser, rest: Sequence[str], streaming: bool = False, prism: bool = False
) -> PipelineOptions:
    """Parse the other flags as Beam's options; exits with code 2 if Beam does not know one either. From here on gRPC
    servers of this process listen on loopback only.

    Args:
        prism: whether the caller starts the project's own Prism for ``PrismRunner``. The one that Beam would fetch and
            start takes pipelines from the whole network.
    """
    listen_here_alone()
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
