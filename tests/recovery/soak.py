"""``make soak``: a long campaign of kills against real servers.

Publishes messages with 10 % copies (up to an hour later by the fleet's clock), disorder and spoiled ones, kills the
pipeline, the broker and the object storage at random moments, and compares the lake with what was published.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from google.api_core.exceptions import AlreadyExists
from google.cloud import pubsub_v1

from lake.storage import storage
from pipelines.violations.options import BOUNDED, UNBOUNDED
from runners.services import NAMES, Services, free_port
from tests.recovery.campaign import WITHOUT_PLANS, Attack, Outcome, campaign
from tests.support import make_messages

PROJECT = "local-dev"
ACK_SECONDS = 10
MESSAGES = {"kafka": 1_000_000, "pubsub": 100_000}
RATE = {"kafka": 12_000.0, "pubsub": 2_000.0}
"""Messages a second. The Pub/Sub server here looks through all that wait for each request, and drops what has waited
for ten minutes: of a million the kills have to be spread over the whole time (see the examples)."""
SETTLE = {"kafka": 0, "pubsub": ACK_SECONDS + 2}
LONGEST = {("kafka", BOUNDED): 0.7, ("pubsub", BOUNDED): 5.0, ("kafka", UNBOUNDED): 4.0, ("pubsub", UNBOUNDED): 4.0}
"""Seconds of work before a kill, at most: a bounded run over Kafka has read what came meanwhile in about a second."""
DIRT = (
    "--duplicates",
    "0.1",
    "--duplicates-within",
    "3600",
    "--disorder",
    "30",
    "--corrupt",
    "0.001",
    "--v0-share",
    "0.1",
)


def make_recording(folder: Path, messages: int) -> Path:
    """About so many messages of two hours, the truth beside them."""
    seconds = 7200
    drones = max(messages // 11 * 10 // seconds, 1)
    rate = messages / 1.1 / drones / seconds
    folder.mkdir(exist_ok=True)
    return make_messages(folder / "messages.jsonl", drones, seconds, "--rate", str(rate), *DIRT)


def make_topic(services: Services, stream: str, name: str) -> tuple[str, str]:
    """A new topic; the URL to publish to, and the one to read from."""
    if stream == "kafka":
        address = services.environment("kafka")["KAFKA_BOOTSTRAP_SERVERS"]
        admin = AdminClient({"bootstrap.servers": address})
        admin.create_topics([NewTopic(name, num_partitions=4)])[name].result()
        return f"kafka://{address}/{name}", f"kafka://{address}/{name}"
    publisher, subscriber = pubsub_v1.PublisherClient(), pubsub_v1.SubscriberClient()
    topic = publisher.topic_path(PROJECT, name)
    subscription = subscriber.subscription_path(PROJECT, f"{name}-lake")
    try:
        publisher.create_topic(name=topic)
        subscriber.create_subscription(name=subscription, topic=topic, ack_deadline_seconds=ACK_SECONDS)
    except AlreadyExists as error:
        raise RuntimeError(f"{topic} is there already") from error
    return f"pubsub://{PROJECT}/{name}", f"pubsub://{PROJECT}/{name}-lake"


def is_exact(outcome: Outcome, stream: str) -> bool:
    """Whether each message is in the lake once, whichever was replayed; of Kafka, each offset in one unit."""
    return outcome.lake.exact and (stream == "pubsub" or outcome.lake.read_once)


def main() -> int:
    """The command; 0 if every campaign came out as it has to."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.recovery.soak",
        description=__doc__,
        epilog="examples:\n"
        "  make soak ARGS='--messages 200000 --kills 4 --streams kafka'\n"
        "  make soak ARGS='--streams kafka --modes unbounded --messages 3600000 --rate 2000 --kills 3 --longest 600'"
        "    half an hour\n"
        "  make soak ARGS='--streams pubsub --modes unbounded --messages 1000000 --rate 1800 --longest 100'"
        "    ten minutes",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--messages", type=int, metavar="N", help="published a campaign (1000000 to Kafka, 100000 to Pub/Sub)"
    )
    parser.add_argument("--kills", type=int, default=10, metavar="N", help="of the pipeline, a campaign (10)")
    parser.add_argument("--longest", type=float, metavar="T", help="seconds of work before a kill (0.7 to 5)")
    parser.add_argument(
        "--rate", type=float, metavar="R", help="messages published a second (12000 to Kafka, 2000 to Pub/Sub)"
    )
    parser.add_argument("--streams", nargs="+", choices=("kafka", "pubsub"), default=["kafka", "pubsub"])
    parser.add_argument("--modes", nargs="+", choices=(BOUNDED, UNBOUNDED), default=[BOUNDED, UNBOUNDED])
    parser.add_argument("--log", type=Path, default=Path(os.devnull), help="file for what the pipelines say")
    arguments = parser.parse_args()
    good = True
    with tempfile.TemporaryDirectory(prefix="prestacop-soak-") as folder:
        services = Services(data=Path(folder) / "services", ports={name: free_port() for name in NAMES})
        try:
            recordings = {
                s: make_recording(Path(folder, s), arguments.messages or MESSAGES[s]) for s in arguments.streams
            }
            campaigns = [(s, m, "") for s in arguments.streams for m in arguments.modes]
            if "kafka" in arguments.streams and BOUNDED in arguments.modes:
                campaigns.append(("kafka", BOUNDED, WITHOUT_PLANS))
            for number, (stream, mode, sabotage) in enumerate(campaigns):
                good &= _one(services, recordings[stream], stream, mode, sabotage, f"soak-{number}", arguments)
        finally:
            services.down(clean=True)
    return 0 if good else 1


def _one(
    services: Services, recording: Path, stream: str, mode: str, sabotage: str, name: str, arguments: argparse.Namespace
) -> bool:
    services.up(stream, "s3")
    os.environ |= services.environment(stream, "s3")
    storage.cache_clear()
    publish_to, read_from = make_topic(services, stream, name)
    attack = Attack(
        how=("--mode", mode),
        messages=read_from,
        root=f"s3://prestacop/{name}",
        kills=arguments.kills,
        longest=arguments.longest or LONGEST[stream, mode],
        settle=SETTLE[stream],
        victims=("kafka", "s3") if stream == "kafka" else ("s3",),  # the Pub/Sub server here keeps nothing
        sabotage=sabotage,
        log=arguments.log.absolute(),
    )
    what = f"{stream}, {mode}" + (", without plans" if sabotage else "")
    print(f"{what}:", flush=True)
    outcome = campaign(
        attack,
        recording,
        publish_to,
        arguments.rate or RATE[stream],
        services,
        lambda line: print("  " + line, flush=True),
    )
    good = not is_exact(outcome, stream) if sabotage else is_exact(outcome, stream) and outcome.replayed > 0
    print(f"  {'as it has to be' if good else 'WRONG'}: {outcome}", flush=True)
    return good


if __name__ == "__main__":
    sys.exit(main())
