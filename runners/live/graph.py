"""``python -m runners.live.graph FIGURES FLAG...``: the command of the graph, which also tells how far it is."""

import sys
import threading
import time
from pathlib import Path
from typing import NoReturn

from pipelines.violations.run import main
from runners.live.figures import tell

EVERY_SECONDS = 0.5


def _keep_telling(path: Path) -> NoReturn:
    while True:
        tell(path)
        time.sleep(EVERY_SECONDS)


if __name__ == "__main__":
    _, path, *flags = sys.argv
    threading.Thread(target=_keep_telling, args=(Path(path),), daemon=True).start()
    main(flags)
