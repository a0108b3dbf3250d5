"""``python -m pipelines.violations``: the same as ``prestacop run``."""

from pipelines.violations.run import main
from terminal.process import run_as_process

run_as_process(main)
