"""``prestacop exporter``: look at the lake and the topics every few seconds, and serve what is known of them."""

import time
from collections.abc import Sequence

from metrics.lake.collector import metrics_of
from metrics.server import Pages, serving

from .flags import parser


def main(argv: Sequence[str] | None = None) -> None:
    """The command; Ctrl-C ends it."""
    given = parser().parse_args(argv)
    metrics = metrics_of(given, given.every, given.kafka_group)
    with serving(Pages(metrics, missing=metrics.old_looks), given.host, given.port, "--port") as port:
        host = f"[{given.host}]" if ":" in given.host else given.host
        print(f"metrics: http://{host}:{port}/metrics  (Ctrl-C ends it)", flush=True)
        while True:
            began = time.monotonic()
            if error := metrics.look():
                raise error
            time.sleep(max(given.every - (time.monotonic() - began), 0.1))
