"""``python -m tests.benchmarks.stream``: Kafka -> lake and statistics, how many a second, how late, how much memory."""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import psutil
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from runners.services import NAMES, Services, free_port
from tests.benchmarks.dated import FOLDER, made_by
from tests.benchmarks.measure import JobFailed, run
from tests.benchmarks.report import machine

EXAMPLES = """\
Throughput: in each round a raw consume(5000) loop that decodes the JSON with msgspec and keeps nothing, then the
pipeline, bounded, on the DirectRunner (as it is by default, then with threads), read the same topic, each job a
process, start-up included. Pictures: a raw loop that puts them into S3 and does nothing else, then the pipeline.
Latency: the pipeline reads without end while the simulator publishes; for each message the time from its publishing to
the moment in which the live statistics had counted as many. Memory: of the pipeline and Prism, every 10 seconds.
With several rates, one after another, the latency of each.

examples:
  make bench-stream
  make bench-stream ARGS='--messages 1000000 --rounds 1 --seconds 60'
  make bench-stream ARGS='--rounds 0 --seconds 1800'      thirty minutes of memory and latency
  make bench-stream ARGS='--rounds 0 --pictures 0 --seconds 30 --rate 10000 20000 30000 40000'
"""
_ROOT = Path(__file__).resolve().parents[2]
_PARTITIONS = 4
PICTURE_BYTES = 500_000
PICTURE_LIMIT = 16 << 20
"""Bytes of a message of the pictures' topic, at most."""
_EVERY_SECONDS = 10
_DIRECT = {"default": (), "threads": ("--direct_running_mode", "multi_threading")}
"""How the DirectRunner's workers run."""


class Live(NamedTuple):
    """What a run without end showed."""

    messages: int
    counted: int
    published: npt.NDArray[np.float64]
    """When each message was published, in seconds since the epoch."""
    latency: npt.NDArray[np.float64]
    """Seconds of each message that was counted."""
    begins: list[float]
    """When the fleet of each rate began."""
    memory: npt.NDArray[np.float64]
    """MB of the pipeline and of Prism, a row a look."""
    panes_bytes: int
    """Size of the file of panes."""


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.stream",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--messages", type=int, default=5_000_000, metavar="N", help="of the topic (5000000)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="of throughput; 0 leaves it out (3)")
    parser.add_argument(
        "--seconds", type=int, default=120, metavar="T", help="of latency at each rate; 0 leaves it out (120)"
    )
    parser.add_argument(
        "--pictures", type=int, default=2_000, metavar="N", help="of 500 kB each; 0 leaves them out (2000)"
    )
    parser.add_argument(
        "--rate", type=int, nargs="+", default=[10_000], metavar="R", help="messages a second there (10000)"
    )
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="the result (docs/performance/DATE-stream.json); parts that are not measured stay",
    )
    arguments = parser.parse_args(argv)
    facts = machine()
    path = arguments.json or FOLDER / f"{facts['date']}-stream.json"
    result: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def save(part: str, found: Any) -> None:
        result[part] = {"machine": facts, "command": made_by("bench-stream", argv), "results": found}
        path.write_text(json.dumps(result, indent=1) + "\n")

    with tempfile.TemporaryDirectory(prefix="prestacop-bench-") as folder:
        services = Services(data=Path(folder) / "services", ports={name: free_port() for name in NAMES})
        try:
            services.up("kafka")
            address = services.environment("kafka")["KAFKA_BOOTSTRAP_SERVERS"]
            if arguments.rounds:
                save("throughput", _throughput(Path(folder), address, arguments.messages, arguments.rounds))
            if arguments.pictures:
                save("pictures", _pictures(Path(folder), address, services, arguments.pictures))
            if arguments.seconds:
                live = _live(Path(folder), address, services, arguments.rate, arguments.seconds)
                save("live", _report(live, arguments.rate, arguments.seconds))
        finally:
            services.down(clean=True)
    return 0


def _throughput(folder: Path, address: str, messages: int, rounds: int) -> list[dict[str, Any]]:
    """A row for each job."""
    url = topic(address, "throughput")
    subprocess.run(simulator(url, max(messages // 3600, 1), 3600), cwd=_ROOT, check=True)
    count = len(published(url))
    root = folder / "lake"
    command = [sys.executable, "-m", "prestacop", "run", "--messages", url, "--lake", str(root), "--quiet"]
    found: list[dict[str, Any]] = []

    def took(number: int, job: str, command: Sequence[str]) -> None:
        used = run(command, _ROOT, folder / "job.log")
        found.append({"round": number, "job": job, "messages": count, **used._asdict()})
        rate = f"{count / used.wall_s:,.0f} messages/s"
        print(f"round {number}: {job:8} {rate}, {used.cpu_s:.1f} CPU s, {used.peak_mb:.0f} MB", flush=True)

    for number in range(1, rounds + 1):
        took(number, "raw loop", [sys.executable, "-m", "tests.benchmarks.raw_loop", url, str(count)])
        for name, flags in _DIRECT.items():
            took(number, name, [*command, *flags])
            size = sum(file.stat().st_size for file in root.rglob("*") if file.is_file())
            shutil.rmtree(root)
    print(f"{count:,} messages, {size / count:.1f} bytes each in the lake")
    seconds = {
        job: statistics.median(row["wall_s"] for row in found if row["job"] == job) for job in ("raw loop", *_DIRECT)
    }
    for name in _DIRECT:
        share = seconds["raw loop"] / seconds[name]
        print(f"the pipeline, {name}, reaches {share:.0%} of the raw loop (medians; wanted: 50 %)", flush=True)
    return found


def _pictures(folder: Path, address: str, services: Services, pictures: int) -> list[dict[str, Any]]:
    """A row for each job."""
    services.up("s3")
    messages, images = topic(address, "with-pictures"), topic(address, "pictures", PICTURE_LIMIT)
    flags = ["--violation-share", "1", "--images", images, "--image-bytes", str(PICTURE_BYTES)]
    took = run(simulator(messages, 100, pictures // 100, *flags), _ROOT, folder / "simulator.log").wall_s
    os.environ |= services.environment("s3")
    started = time.perf_counter()
    count = len(published(images))
    megabytes = count * PICTURE_BYTES / 1e6
    took += time.perf_counter() - started
    print(f"one broker took and gave {megabytes:,.0f} MB of pictures at {2 * megabytes / took:.0f} MB/s", flush=True)
    jobs = {
        "raw loop": ["-m", "tests.benchmarks.raw_loop", images, str(count), "s3://prestacop/raw"],
        "default": ["-m", "prestacop", "run", "--images", images, "--lake", "s3://prestacop/bench", "--quiet"],
    }
    found = []
    for job, words in jobs.items():
        used = run([sys.executable, *words], _ROOT, folder / "pictures.log")
        found.append({"job": job, "megabytes": megabytes, **used._asdict()})
        rates = f"{megabytes / used.wall_s:.0f} MB/s, {megabytes / used.cpu_s:.0f} MB a CPU second"
        print(f"pictures from Kafka to S3, {job}: {rates}, {used.peak_mb:.0f} MB of memory", flush=True)
    return [*found, _uploaded(folder, address, 10 * pictures)]


def _uploaded(folder: Path, address: str, pictures: int) -> dict[str, Any]:
    """A row: pictures that their drones have uploaded (v2), small ones, since the pipeline does not read them."""
    images, lake = topic(address, "uploaded-pictures"), "s3://prestacop/uploaded"
    flags = ["--violation-share", "1", "--images", images, "--upload-images", lake]
    run(simulator(topic(address, "with-uploads"), 100, pictures // 100, *flags), _ROOT, folder / "simulator.log")
    command = [sys.executable, "-m", "prestacop", "run", "--images", images, "--lake", lake, "--quiet"]
    used = run(command, _ROOT, folder / "uploaded.log")
    rates = f"{pictures / used.wall_s:,.0f} a second, {pictures / used.cpu_s:,.0f} a CPU second"
    print(f"{pictures:,} uploaded pictures from Kafka, default: {rates}, {used.peak_mb:.0f} MB of memory", flush=True)
    return {"job": "uploaded", "pictures": pictures, **used._asdict()}


def _live(folder: Path, address: str, services: Services, rates: list[int], seconds: int) -> Live:
    url = topic(address, "latency")
    panes = folder / "panes.jsonl"
    panes.touch()
    command = [sys.executable, "-m", "prestacop", "run", "--mode", "unbounded", "--messages", url]
    command += ["--lake", str(folder / "live"), "--live", f"file:{panes}", "--live-window", "10s"]
    command += ["--prism_location", str(services.prism())]
    moments: list[tuple[float, int]] = []
    tail = _Tail(panes)
    memory: list[tuple[float, float]] = []
    with (folder / "live.log").open("wb") as log, running(command, log.fileno()) as pipeline:
        time.sleep(5)
        begins: list[float] = []
        for rate in rates:
            begins.append(time.time())
            with running(simulator(url, rate, seconds, "--live"), log.fileno()) as fleet:
                ends = float("inf")
                while time.time() < ends:
                    if pipeline.poll() is not None:
                        printed = (folder / "live.log").read_text(errors="replace")[-4000:]
                        raise JobFailed(f"the pipeline ended with {pipeline.returncode}:\n{printed}")
                    moments.append((time.time(), tail.read()))
                    if not len(moments) % (_EVERY_SECONDS * 20):
                        memory.append(_megabytes(pipeline))
                    if fleet.poll() is not None and ends == float("inf"):
                        ends = time.time() + (10 if rate == rates[-1] else 0)
                    time.sleep(0.05)
    times = published(url)
    counts = np.array([n for _, n in moments])
    seen = np.searchsorted(counts, np.arange(1, min(len(times), counts[-1]) + 1))
    visible = np.array([t for t, _ in moments])[seen]
    late = visible - times[: len(visible)]
    return Live(len(times), int(counts[-1]), times, late, begins, np.array(memory), panes.stat().st_size)


def _report(live: Live, rates: list[int], seconds: int) -> dict[str, Any]:
    """Print the latency of each rate, and the memory; returns them."""
    found: dict[str, Any] = {"messages": live.messages, "counted": live.counted, "latency": [], "memory_mb": {}}
    print(f"{live.messages:,} messages, {live.counted:,} counted")
    for rate, begins, ends in zip(rates, live.begins, [*live.begins[1:], float("inf")], strict=True):
        first, last = np.searchsorted(live.published, [begins, ends])
        sent = live.published[first:last]
        late = live.latency[first:last]
        if not len(late):
            print(f"{rate:,} messages/s: none was counted")
            continue
        p50, p95, p99 = (float(value) for value in np.percentile(late, [50, 95, 99]))
        real = len(sent) / max(sent[-1] - sent[0], 1)
        print(
            f"{rate:,} messages/s, published {real:,.0f}/s: from publishing to the statistic p50 {p50:.2f} s, "
            f"p95 {p95:.2f} s, p99 {p99:.2f} s, worst {late.max():.2f} s (wanted: p99 1.5 s)"
        )
        figures = {"p50_s": p50, "p95_s": p95, "p99_s": p99, "worst_s": float(late.max())}
        found["latency"].append({"rate": rate, "published_per_s": real, **figures})
    print(f"panes of 10 s windows: {live.panes_bytes / (seconds * len(rates)) / 1e3:.1f} kB a second")
    pipeline, prism = live.memory.T
    for name, memory in {"pipeline and Prism": pipeline + prism, "pipeline": pipeline, "Prism": prism}.items():
        found["memory_mb"][name] = {"median": float(np.median(memory)), "most": float(memory.max())}
        middle, last = (float(np.median(part)) for part in np.array_split(memory, 3)[1:])
        tenths = ", ".join(f"{np.median(part):.0f}" for part in np.array_split(memory, 10))
        print(
            f"memory of {name}: {middle:.0f} MB in the middle third, {last:.0f} MB in the last "
            f"({last / middle - 1:+.1%}), at most {memory.max():.0f} MB; by tenths {tenths}"
        )
    return found


def published(url: str) -> npt.NDArray[np.float64]:
    """When each message of a topic was published, in seconds since the epoch, sorted."""
    address, _, topic = url.removeprefix("kafka://").partition("/")
    consumer = Consumer({"bootstrap.servers": address, "group.id": "times", "fetch.queue.backoff.ms": 5})
    places = [TopicPartition(topic, partition, 0) for partition in range(_PARTITIONS)]
    expected = sum(consumer.get_watermark_offsets(place)[1] for place in places)
    consumer.assign(places)
    times: list[int] = []
    while len(times) < expected:
        times += [m.timestamp()[1] for m in consumer.consume(10_000, timeout=1) if m.error() is None]
    consumer.close()
    return np.sort(np.array(times)) / 1000


class _Tail:
    """The sum of the counts in a growing file of panes."""

    def __init__(self, panes: Path) -> None:
        self._file = panes.open("rb")
        self._rest = b""
        self.total = 0

    def read(self) -> int:
        """Take what has come; gives the sum."""
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        self.total += sum(pane["n"] for pane in map(json.loads, lines) if not {"areas", "drones"} & pane.keys())
        return self.total


@contextmanager
def running(command: list[str], log: int) -> Iterator[subprocess.Popen[bytes]]:
    if (
        signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    ):  # in the background of a shell; the command would ignore it too
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)


def topic(address: str, name: str, largest: int = 1 << 20) -> str:
    admin = AdminClient({"bootstrap.servers": address})
    topic = NewTopic(name, num_partitions=_PARTITIONS, config={"max.message.bytes": str(largest)})
    admin.create_topics([topic])[name].result()
    return f"kafka://{address}/{name}"


def simulator(url: str, drones: int, seconds: int, *flags: str) -> list[str]:
    fleet = ["--drones", str(drones), "--seconds", str(seconds), "--rate", "1", "--quiet"]
    return [sys.executable, "-m", "prestacop", "simulate", "drones", *fleet, "--output", url, *flags]


def _megabytes(process: subprocess.Popen[bytes]) -> tuple[float, float]:
    """Of a process, and of its descendants."""
    family = psutil.Process(process.pid)
    below = sum(child.memory_info().rss for child in family.children(recursive=True))
    return family.memory_info().rss / 1e6, below / 1e6


if __name__ == "__main__":
    sys.exit(main())
