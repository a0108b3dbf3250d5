"""``python -m pipelines.violations``: the same as ``prestacop run``."""

from pipelines.violations.run import main

main()
