"""``python -m runners.workers.forks``: starts workers as forks of a process that has imported what they need.

It reads the arguments of a worker, a JSON list on a line, from stdin, and prints the process id of the worker. Imports
take a worker 1.5 s of processor time, a fork some milliseconds. This process has one thread of Python and never opens a
connection of gRPC, whose threads a fork would lack; those of OpenBLAS and of jemalloc allow a fork. It ends when its
stdin is closed.
"""

import json
import os
import signal
import sys

from pipelines.cli.beam_imports import quick_imports

with quick_imports():
    import pipelines.violations.graph  # noqa: F401  # what the workers would import
    from runners.workers import boot


def main() -> None:
    """Fork for each line, until stdin ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system removes workers that have ended
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            _prepare()
            boot.main(json.loads(line))
            os._exit(0)  # threads of Beam and of clients are left
        print(pid, flush=True)


def _prepare() -> None:
    """Undo what a worker must not inherit: ignored and blocked signals, the pipes of this process."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)


if __name__ == "__main__":
    main()
