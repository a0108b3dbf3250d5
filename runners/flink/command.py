"""``make flink-up``, ``flink-status``, ``flink-stop``, ``flink-down``, ``submit-flink``."""

import argparse
from collections.abc import Sequence
from functools import partial

from runners.flink.cluster import GROUP, JobManager
from runners.services import Services
from runners.services.clients import use_local_servers
from runners.services.group_command import GroupCommand, add_submit, parser_of, run_command, sentence
from terminal.arguments import Commands, Parser

_PROG = "prestacop flink"
_LEAVING = f"The job keeps running in the cluster ({_PROG} status; {_PROG} stop). Units in the ledger are committed"


def _print_jobs(services: Services) -> None:
    if services.status(JobManager.name)[0].pid:
        from runners.flink import jobs  # noqa: PLC0415  # imports Beam

        print("\n".join(jobs.status_lines(services.running(JobManager))))


def _add_actions(actions: Commands, shared: Parser) -> None:
    text = "stop a job with a savepoint, from which another job can resume"
    stop = actions.add_parser("stop", parents=[shared], help=text, description=sentence(text), allow_abbrev=False)
    stop.add_argument("--job", metavar="ID", help="id of the job (default: the only one that runs)")
    stop.set_defaults(do=_stop)
    submit = add_submit(actions, _PROG)
    submit.add_argument("--go-on", action="store_true", help="resume from the newest savepoint or checkpoint")


def _stop(services: Services, arguments: argparse.Namespace) -> int:
    from runners.flink import jobs  # noqa: PLC0415  # imports Beam

    savepoint = jobs.stop(services.running(JobManager), arguments.job)
    print(f"savepoint {savepoint}\nto resume from it: {_PROG} submit --savepoint_path {savepoint} ...")
    return 0


COMMAND = GroupCommand(
    _PROG,
    GROUP,
    "A Flink cluster on this machine: a JobManager, two TaskManagers, a pool of Python workers.",
    f"""\
  {_PROG} up
  {_PROG} submit --history 'tickets/*.csv' --lake s3://prestacop/lake
  {_PROG} submit --messages kafka://localhost:9092/drones --mode unbounded --lake s3://prestacop/lake
  {_PROG} stop                    with a savepoint; prints its path
  {_PROG} submit --go-on --parallelism 4 --messages ...
                                    resumes from the newest savepoint or checkpoint
""",
    before_up=use_local_servers,
    print_details=_print_jobs,
    add_actions=_add_actions,
)


def _submit(argv: list[str], parser: Parser) -> None:
    from pipelines.cli.beam_imports import quick_imports  # noqa: PLC0415

    with quick_imports():  # of Beam: up, status and --help do without
        from pipelines.cli.cluster import Cluster  # noqa: PLC0415
        from pipelines.violations.run import main as run  # noqa: PLC0415
        from runners.flink import jobs  # noqa: PLC0415
        from runners.flink.submit import on_flink  # noqa: PLC0415

    given, _ = parser.parse_known_args(argv)
    use_local_servers()
    services = Services(data=given.data, group=GROUP)
    if given.go_on:
        argv += ["--savepoint_path", jobs.snapshot_to_resume_from(services)]
    run(argv, Cluster(parser, partial(on_flink, services=services), leaving=_LEAVING))


def parser() -> argparse.ArgumentParser:
    """Of the command and its actions."""
    return parser_of(COMMAND)


def main(argv: Sequence[str]) -> int:
    """The command."""
    return run_command(COMMAND, argv, submit=_submit)
