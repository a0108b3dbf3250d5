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
    "Fill a lake": {
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
    "Query it and keep it": {
        "analyze": Subcommand(
            "pipelines.analysis.command",
            "pipelines.analysis.flags:analyze",
            "answer the city's questions, write the report",
            takes_beam_flags=True,
        ),
        "fines": Subcommand(
            "pipelines.analysis.fines",
            "pipelines.analysis.flags:fines",
            "dollars by window and violation code, as CSV",
        ),
        "trace": Subcommand(
            "pipelines.maintenance.trace",
            "pipelines.maintenance.flags:trace",
            "everything the lake has about one message or ticket",
        ),
        "reconcile": Subcommand(
            "pipelines.maintenance.reconcile",
            "pipelines.maintenance.flags:reconcile",
            "check that every input row is accounted for",
        ),
        "compact": Subcommand(
            "pipelines.maintenance.compact",
            "pipelines.maintenance.flags:compact",
            "merge small files; remove the merged ones",
            takes_beam_flags=True,
        ),
        "replay": Subcommand(
            "pipelines.maintenance.replay",
            "pipelines.maintenance.flags:replay",
            "read dead letters again by today's rules",
            takes_beam_flags=True,
        ),
        "undo": Subcommand(
            "pipelines.maintenance.undo",
            "pipelines.maintenance.flags:undo",
            "take a unit of work out of the lake again",
        ),
    },
    "Work with officers and drones": {
        "console": Subcommand(
            "apps.console.command",
            "apps.console.command:parser",
            "the officers' console, a web page",
        ),
        "simulate": Subcommand(
            "apps.simulator.command",
            "apps.simulator.command:parser",
            "publish a made-up fleet, or write a made-up ticket history",
        ),
    },
    "On this machine and on clusters": {
        "live": Subcommand(
            "runners.live.command",
            "runners.live.flags:parser",
            "a fleet, Kafka, S3, the graph and a screen, here",
        ),
        "run-local": Subcommand(
            "runners.local",
            "runners.local_flags:parser",
            "a made-up day into a lake with its report",
            takes_beam_flags=True,
        ),
        "services": Subcommand(
            "runners.services.command",
            "runners.services.command:parser",
            "Kafka, Pub/Sub and S3 servers, here",
        ),
        "flink": Subcommand(
            "runners.flink.command",
            "runners.flink.command:parser",
            "a Flink cluster, here; submit the graph to it",
            takes_beam_flags=True,
        ),
        "spark": Subcommand(
            "runners.spark.command",
            "runners.spark.command:parser",
            "a Spark cluster, here; submit the graph to it",
            takes_beam_flags=True,
        ),
        "doctor": Subcommand(
            "runners.doctor",
            "runners.doctor:parser",
            "what this machine has, and what is missing",
        ),
        "clean": Subcommand(
            "runners.clean",
            "runners.clean:parser",
            "remove what the product made here",
        ),
    },
}
SUBCOMMANDS = {name: command for group in GROUPS.values() for name, command in group.items()}
