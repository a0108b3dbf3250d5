"""The sub-commands of ``prestacop``: where each is, and what it does in one line. Nothing of them is imported here."""

from typing import NamedTuple


class Subcommand(NamedTuple):
    """One of them."""

    module: str
    """Has a function ``main`` that takes the arguments and returns the exit code."""
    summary: str


GROUPS: dict[str, dict[str, Subcommand]] = {
    "Fill a lake": {
        "run": Subcommand("pipelines.violations.run", "read messages and ticket history into a lake"),
        "load": Subcommand("apps.loader.command", "ship history from a weak computer, through power cuts"),
        "topics": Subcommand("runners.provision.command", "create topics, subscriptions and bucket rules"),
    },
    "Ask and keep it": {
        "analyze": Subcommand("pipelines.analysis.command", "answer the city's questions, write the report"),
        "fines": Subcommand("pipelines.analysis.fines", "dollars by window and violation code, as CSV"),
        "trace": Subcommand("pipelines.maintenance.trace", "everything the lake has about one message or ticket"),
        "reconcile": Subcommand("pipelines.maintenance.reconcile", "check that every input row is accounted for"),
        "compact": Subcommand("pipelines.maintenance.compact", "merge small files; remove the merged ones"),
        "replay": Subcommand("pipelines.maintenance.replay", "read dead letters again by today's rules"),
        "undo": Subcommand("pipelines.maintenance.undo", "take a unit of work out of the lake again"),
    },
    "Work with officers and drones": {
        "console": Subcommand("apps.console.command", "the officers' console, a web page"),
        "simulate": Subcommand("apps.simulator.command", "publish a made-up fleet, or write a made-up ticket history"),
    },
    "On this machine and on clusters": {
        "live": Subcommand("runners.live.command", "a fleet, Kafka, S3, the graph and a screen, here"),
        "run-local": Subcommand("runners.local", "a made-up day into a lake with its report"),
        "services": Subcommand("runners.services.command", "Kafka, Pub/Sub and S3 servers, here"),
        "flink": Subcommand("runners.flink.command", "a Flink cluster, here; submit the graph to it"),
        "spark": Subcommand("runners.spark.command", "a Spark cluster, here; submit the graph to it"),
        "doctor": Subcommand("runners.doctor", "what this machine has, and what is missing"),
        "clean": Subcommand("runners.clean", "remove what the product made here"),
    },
}
SUBCOMMANDS = {name: command for group in GROUPS.values() for name, command in group.items()}
