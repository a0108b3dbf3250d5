"""``python -m runners.live.graph PROGRESS_FILE FLAG...``: runs the graph and writes its progress to a file."""

import sys
from pathlib import Path

from pipelines.violations.run import main
from runners.live.metrics import write_progress
from terminal.every import every
from terminal.process import run_as_process

EVERY_SECONDS = 0.5


if __name__ == "__main__":
    _, path, *flags = sys.argv
    with every(EVERY_SECONDS, lambda: write_progress(Path(path))):
        run_as_process(lambda: main(flags))
