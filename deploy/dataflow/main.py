"""What the launcher of the flex template starts: ``prestacop run`` with the template's parameters as flags."""

import sys

from prestacop.main import main
from terminal.process import run_as_process

run_as_process(lambda: main(["run", *sys.argv[1:]]))
