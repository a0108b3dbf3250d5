"""The sub-commands of ``prestacop``: where each is, and what it does in one line. Nothing of them is imported here."""

from typing import NamedTuple


class Subcommand(NamedTuple):
    """One of them."""

    module: str
    """Has a function ``main`` that takes the arguments and returns the exit code."""
    parser: str
    """``module:function`` that gives its parser, for ``--help``, usage errors and completion: imports neither Beam nor
    pyarrow."""
    summary: str
    takes_beam_flags: bool = False
    """Whether flags that the parser does not know are passed on to Beam."""


GROUPS: dict[str, dict[str, Subcommand]] = {
    "Fill": {
        "run": Subcommand(
            "pipelines.violations.run",
            "pipelines.violations.options:parser",
            "read messages and ticket history into a lake",
            takes_beam_flags=True,
        ),
        "load": Subcommand(
            "apps.loader.command",
            "apps.loader.command:parser",
            "ship history from a weak computer, through power cuts",
        ),
        "topics": Subcommand(
            "runners.provision.command",
            "runners.provision.arguments:parser",
            "create topics, subscriptions and bucket rules",
        ),
    },
    "Query": {
        "analyze": Subcommand(
            "pipelines.analysis.command",
            "pipelines.analysis.flags:analyze",
            "answer the city's questions and write the report",
            takes_beam_flags=True,
        ),
        "fines": Subcommand(
            "pipelines.analysis.fines",
            "pipelines.analysis.flags:fines",
            "compute the fines by time window and violation code, as CSV",
        ),
        "fleet": Subcommand(
            "pipelines.analysis.fleet",
            "pipelines.analysis.flags:fleet",
            "estimate the health of the drones' batteries",
        ),
        "officers": Subcommand(
            "pipelines.analysis.officers",
            "pipelines.analysis.flags:officers",
            "report how much work each violation code is for officers",
        ),
        "trace": Subcommand(
            "pipelines.maintenance.trace",
            "pipelines.maintenance.flags:trace",
            "print everything the lake has about a message or ticket",
        ),
    },
    "Maintain": {
        "reconcile": Subcommand(
            "pipelines.maintenance.reconcile",
            "pipelines.maintenance.flags:reconcile",
            "check that every input row is in the lake exactly once",
        ),
        "compact": Subcommand(
            "pipelines.maintenance.compact",
            "pipelines.maintenance.flags:compact",
            "publish, merge small files, delete replaced files",
            takes_beam_flags=True,
        ),
        "replay": Subcommand(
            "pipelines.maintenance.replay",
            "pipelines.maintenance.flags:replay",
            "validate dead letters again with the current rules",
            takes_beam_flags=True,
        ),
        "undo": Subcommand(
            "pipelines.maintenance.undo",
            "pipelines.maintenance.flags:undo",
            "remove a unit of work from the lake, or restore it",
        ),
        "forget": Subcommand(
            "pipelines.maintenance.forget",
            "pipelines.maintenance.flags:forget",
            "erase a plate, or old positions and pictures, for good",
        ),
    },
    "Apps": {
        "console": Subcommand(
            "apps.console.command",
            "apps.console.command:parser",
            "serve the officers' console, a web page",
        ),
        "exporter": Subcommand(
            "apps.exporter.command",
            "apps.exporter.flags:parser",
            "serve metrics of a lake and its topics for Prometheus",
        ),
        "simulate": Subcommand(
            "apps.simulator.command",
            "apps.simulator.command:parser",
            "generate the messages of a fleet, or a ticket history",
        ),
    },
    "Local": {
        "live": Subcommand(
            "runners.live.command",
            "runners.live.flags:parser",
            "run a fleet, Kafka, S3, the graph and the console",
        ),
        "run-local": Subcommand(
            "runners.local",
            "runners.local_flags:parser",
            "simulate input, fill a lake, write its report",
            takes_beam_flags=True,
        ),
        "services": Subcommand(
            "runners.services.command",
            "runners.services.command:parser",
            "start and stop Kafka, Pub/Sub and S3 servers",
        ),
        "flink": Subcommand(
            "runners.flink.command",
            "runners.flink.command:parser",
            "start and stop a Flink cluster, submit the graph to it",
            takes_beam_flags=True,
        ),
        "spark": Subcommand(
            "runners.spark.command",
            "runners.spark.command:parser",
            "start and stop a Spark cluster, submit the graph to it",
            takes_beam_flags=True,
        ),
        "doctor": Subcommand(
            "runners.doctor",
            "runners.doctor:parser",
            "report what this machine can run and what is missing",
        ),
        "clean": Subcommand(
            "runners.clean",
            "runners.clean:parser",
            "remove what was installed and generated here",
        ),
        "config": Subcommand(
            "prestacop.config",
            "prestacop.config:parser",
            "print the effective settings and their sources",
        ),
    },
}
SUBCOMMANDS = {name: command for group in GROUPS.values() for name, command in group.items()}
