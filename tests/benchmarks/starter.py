"""``python -S -E starter.py FD COMMAND ...``: run a command as the child of a small process; writes what it took to FD.

A new process has the peak memory of the one that it was forked from, also after ``exec``: it would be that of the
benchmark, which is hundreds of megabytes. This one has 10.
"""

import json
import os
import sys
import time


def main() -> None:
    """The command: writes exit code, wall seconds, CPU seconds and peak memory in KiB."""
    to, command = int(sys.argv[1]), sys.argv[2:]
    os.set_inheritable(to, False)
    began = time.perf_counter()
    process = os.posix_spawnp(command[0], command, os.environ)
    _, status, used = os.wait4(process, 0)
    wall = time.perf_counter() - began
    result = (os.waitstatus_to_exitcode(status), wall, used.ru_utime + used.ru_stime, used.ru_maxrss)
    os.write(to, json.dumps(result).encode())


if __name__ == "__main__":
    main()
