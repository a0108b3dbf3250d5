"""The servers of this machine, for commands that need some."""

import os

from runners.services.services import Services


def find_servers() -> None:
    """Let this process, and what it starts, find those that run here, where nothing else is said."""
    for name, value in Services().environment().items():
        os.environ.setdefault(name, value)
