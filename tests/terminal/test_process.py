"""How the process of a command ends."""

import subprocess
import sys

import pytest

_MAIN = """
import atexit, sys, threading
from terminal.process import run_as_process

class Freed:
    def __del__(self):
        print("freed")

kept = Freed()

def main():
    threading.Thread(target=threading.Event().wait).start()
    atexit.register(print, "tidied up")
    print("done")
    sys.exit({code})

run_as_process(main)
"""


@pytest.mark.embedded
@pytest.mark.parametrize(("given", "code"), [("0", 0), ("None", 0), ("3", 3)])
def test_it_ends_at_once_with_its_code_and_its_output(given: str, code: int) -> None:
    line = [sys.executable, "-c", _MAIN.format(code=given)]
    done = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=False, timeout=300)
    assert (done.returncode, done.stdout) == (code, "done\ntidied up\n")


@pytest.mark.embedded
def test_an_error_that_nobody_expected_has_its_traceback() -> None:
    code = "from terminal.process import run_as_process\nrun_as_process(lambda: 1 / 0)"
    done = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")
