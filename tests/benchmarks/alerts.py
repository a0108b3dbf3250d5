"""``python -m tests.benchmarks.alerts``: from a message to its alert, without end on Prism; what an answer costs."""

import subprocess
import tempfile
import time
from pathlib import Path
from threading import Event, Thread
from typing import Final

import numpy as np
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from runners.services import NAMES, Services, free_port
from schemas.alerts import decode
from tests.services.support import command, make_topic
from tests.transforms.messages.test_decode import message
from tests.transforms.messages.test_officer_answers import KEYS, answer, wire
from transforms.messages.officer_answers import refuse_answer

SECONDS: Final = 40
WARM_SECONDS: Final = 12
ANSWERS: Final = 2_000


def alert_latency(folder: Path) -> str:
    """Publish for a while, every hundredth message an unqualified violation, and wait for the alerts."""
    services = Services(data=folder / "services", ports={name: free_port() for name in NAMES})
    services.up("kafka")
    try:
        broker = services.environment("kafka")["KAFKA_BOOTSTRAP_SERVERS"]
        flags = ["--messages", make_topic(broker, "drones", 4), "--alerts", make_topic(broker, "alerts", 1)]
        follow = ["--mode", "unbounded", "--prism_location", str(services.prism()), *flags]
        with subprocess.Popen(command(folder / "lake", *follow)) as graph:
            sent, came, done = {}, dict[str, float](), Event()
            listener = Thread(target=_listen, args=(broker, came, done))
            listener.start()
            producer, n, began = Producer({"bootstrap.servers": broker}), 0, time.time()
            while (now := time.time()) < began + SECONDS:
                sent[f"m{n}"] = now
                for place in range(n, n + 100):
                    code = 0 if place == n else 21
                    producer.produce("drones", message(message_id=f"m{place}", violation_code=code), str(place))
                n += 100
                producer.flush()
                time.sleep(0.05)
            time.sleep(WARM_SECONDS)
            done.set()
            listener.join()
            graph.terminate()
    finally:
        services.down()
    late = [came[name] - at for name, at in sent.items() if name in came and at > began + WARM_SECONDS]
    p50, p99 = np.quantile(late, [0.5, 0.99])
    return f"{n / SECONDS:,.0f} messages/s, {len(came):,} of {len(sent):,} alerts, p50 {p50:.2f} s, p99 {p99:.2f} s"


def _listen(broker: str, came: dict[str, float], done: Event) -> None:
    consumer = Consumer({"bootstrap.servers": broker, "group.id": "bench", "enable.auto.commit": False})
    consumer.assign([TopicPartition("alerts", 0, OFFSET_BEGINNING)])
    while not done.is_set():
        for got in consumer.consume(100, 0.05):
            came.setdefault(decode(got.value() or b"").message_id, time.time())
    consumer.close()


def answer_cost() -> str:
    """Verify signed answers."""
    payloads = [wire(answer(lease=str(place))) for place in range(ANSWERS)]
    began = time.thread_time()
    refused = [refuse_answer(payload, KEYS[1:]) for payload in payloads]
    took = time.thread_time() - began
    if any(refused):
        raise AssertionError("a signed answer was refused")
    return f"{took / ANSWERS * 1e6:.0f} µs of CPU an answer"


if __name__ == "__main__":
    print(answer_cost())
    with tempfile.TemporaryDirectory() as folder:
        print(alert_latency(Path(folder)))
