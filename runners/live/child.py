"""``python -m runners.live.child PARENT MODULE ARGUMENT...``: a module as a command that ends with its parent.

However the parent ends, be it by kill -9: it then gets SIGTERM, as it does from the parent else.
"""

import os
import runpy
import signal
import sys
import threading
import time

EVERY_SECONDS = 0.5


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(EVERY_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    _, parent, module, *arguments = sys.argv
    threading.Thread(target=_end_with, args=(int(parent),), daemon=True).start()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
