"""``python -m tests.recovery.loader``: kill the loader at random moments, a thousand times, and compare by hash.

A file is loaded, each life of the loader ended by ``kill -9`` at a random moment, until it is there; what arrived is
compared with the file; then the next one. With ``--hang`` it is the server that hangs in the middle of a load.
"""

import argparse
import hashlib
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

import boto3

from apps.loader.command import main as loader
from messaging.urls import kafka_url, pubsub_url
from runners.services import NAMES, Services, free_port
from schemas.lake import Source
from sources.loaded.file import PiecedFile
from sources.loaded.topic import LoadedTopic
from sources.streams.base import Stream
from sources.streams.kafka import KafkaStream
from sources.streams.pubsub import PubSubStream
from tests.recovery.outage import away
from tests.services.support import Subscription, make_topic
from tests.support import make_history

ROWS: Final = {"file": 12_000, "kafka": 12_000, "pubsub": 12_000, "s3": 120_000}
"""Of the file: 3 MB, or on S3 some parts of 8 MiB."""
RATE: Final = {"file": "4M", "kafka": "4M", "pubsub": "4M", "s3": "40M"}
LONGEST_S: Final = 1.2
"""Of a life. A tenth of it is spent on starting."""
ROOT: Final = Path(__file__).resolve().parents[2]


class Outcome(NamedTuple):
    """What a campaign came to."""

    kills: int
    loads: int
    """That came to their end."""
    different: int
    """Of which something else arrived than was sent."""


def campaign(folder: Path, target: str, kills: int, seed: int, url: str = "") -> Outcome:
    """Kill the loader so often; the last load comes to its end unharmed.

    Args:
        url: of a topic, or of a place in a bucket.
    """
    chance = random.Random(seed)
    source = make_history(folder / "tickets.csv", ROWS[target], "--dirt", "20", "--seed", str(seed))
    url = url or f"file:{folder}/out"
    line = [sys.executable, "-m", "prestacop", "load", str(source), "--to", url, "--journal", str(folder / "journals")]
    done = loads = different = 0
    while done < kills or not loads:
        os.utime(source, (loads + 1, loads + 1))  # another file, as far as the loader can tell
        while True:
            rate = ["--max-rate", RATE[target]] if done < kills else []
            with subprocess.Popen([*line, "--quiet", *rate], cwd=ROOT, stdout=subprocess.DEVNULL) as process:
                try:
                    process.wait(chance.uniform(0, LONGEST_S) if done < kills else None)
                except subprocess.TimeoutExpired:
                    process.kill()
                    done += 1
                    continue
            if process.returncode:
                raise RuntimeError(f"the loader ended with {process.returncode}")
            break
        loads += 1
        different += hash_there(target, url, folder) != hashlib.sha256(source.read_bytes()).digest()
    return Outcome(done, loads, different)


def hang(services: Services, folder: Path, target: str, seconds: float, url: str) -> bool:
    """Load a file, and let the server hang for so long in the middle; whether what arrived is the file."""
    source = make_history(folder / "tickets.csv", ROWS[target])
    journals, size = folder / "journals", source.stat().st_size
    with away(services, target, seconds, journals, size // 3) as back:
        code = loader([str(source), "--to", url, "--journal", str(journals), "--max-rate", str(size // 10)])
        was_away = back.is_set()
    return code == 0 and was_away and hash_there(target, url, folder) == hashlib.sha256(source.read_bytes()).digest()


def hash_there(target: str, url: str, folder: Path) -> bytes:
    """Of the one file that has arrived since the last time; it is taken away, so far as that can be done."""
    if target == "file":
        (path,) = (folder / "out").iterdir()
        content = path.read_bytes()
        path.unlink()
    elif target == "s3":
        client, bucket = boto3.client("s3"), url.split("/")[2]
        (found,) = client.list_objects_v2(Bucket=bucket)["Contents"]
        content = client.get_object(Bucket=bucket, Key=found["Key"])["Body"].read()
        client.delete_object(Bucket=bucket, Key=found["Key"])
    elif target == "kafka":
        content = _last_in(KafkaStream(kafka_url(url), Source.HISTORY), folder)
    else:
        stream = PubSubStream(pubsub_url(url), Source.HISTORY)  # it has the name of its topic
        content = _last_in(stream, folder)
        stream.forget(stream.spooled(str(folder)), str(folder))
    return hashlib.sha256(content).digest()


def _last_in(stream: Stream, folder: Path) -> bytes:
    last = LoadedTopic(stream, str(folder)).read_files()[-1]
    if not last.is_complete:
        return b""
    with PiecedFile(last, stream, str(folder)) as file:
        return file.read(last.size or 0) or b""


def main() -> int:
    """The command; 0 if all that arrived was what was sent."""
    parser = argparse.ArgumentParser(prog="python -m tests.recovery.loader", description=__doc__)
    parser.add_argument("--kills", type=int, default=1_000, metavar="N", help="for each target (1000)")
    parser.add_argument("--to", nargs="+", choices=ROWS, default=["file"], help="(file)")
    parser.add_argument("--seed", type=int, default=1, metavar="S")
    parser.add_argument("--hang", type=float, metavar="SECONDS", help="no kills: the server hangs for so long, once")
    arguments = parser.parse_args()
    good = True
    with tempfile.TemporaryDirectory(prefix="prestacop-kills-") as name:
        services = Services(data=Path(name) / "services", ports={name: free_port() for name in NAMES})
        try:
            for target in arguments.to:
                folder = Path(name) / target
                folder.mkdir()
                url = up(services, target)
                if arguments.hang:
                    same = hang(services, folder, target, arguments.hang, url)
                    printed = f"the server hung for {arguments.hang:.0f} s, {'the same' if same else 'different'}"
                else:
                    outcome = campaign(folder, target, arguments.kills, arguments.seed, url)
                    same = outcome.different == 0
                    printed = f"{outcome.kills} kills, {outcome.loads} loads, {outcome.different} different"
                print(f"{target}: {printed}", flush=True)
                good &= same
        finally:
            services.down(clean=True)
    return 0 if good else 1


def up(services: Services, target: str, name: str = "killed") -> str:
    """Start a target's server, with an empty place of that name for a load; gives its URL."""
    if target == "file":
        return ""
    services.up(target)
    os.environ.update(services.environment(target))
    if target == "kafka":
        return make_topic(os.environ["KAFKA_BOOTSTRAP_SERVERS"], name, partitions=2)
    if target == "pubsub":
        with Subscription(name) as subscription:
            return subscription.url
    boto3.client("s3").create_bucket(Bucket=name)
    return f"s3://{name}/history"


if __name__ == "__main__":
    sys.exit(main())
