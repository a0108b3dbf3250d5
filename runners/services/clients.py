"""Settings for the clients of the servers on this machine."""

import os

from runners.services.services import Services


def use_local_servers() -> None:
    """Let the clients of this process and its children use the servers that run here, unless the environment names
    others."""
    for name, value in Services().environment().items():
        os.environ.setdefault(name, value)
