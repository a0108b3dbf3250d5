"""``python -m prestacop``, for a clone whose command is not on the path."""

from prestacop.main import run

run()
