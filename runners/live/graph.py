"""``python -m runners.live.graph PROGRESS_FILE FLAG...``: runs the graph and writes its progress to a file."""

import sys
import threading
import time
from pathlib import Path
from typing import NoReturn

from pipelines.violations.run import main
from runners.live.metrics import write_progress
from terminal.process import run_as_process

EVERY_SECONDS = 0.5


def _keep_writing(path: Path) -> NoReturn:
    while True:
        write_progress(path)
        time.sleep(EVERY_SECONDS)


if __name__ == "__main__":
    _, path, *flags = sys.argv
    threading.Thread(target=_keep_writing, args=(Path(path),), daemon=True).start()
    run_as_process(lambda: main(flags))
