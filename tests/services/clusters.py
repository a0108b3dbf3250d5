"""Flink and Spark clusters for tests, and how to submit to them."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runners.flink import cluster as flink
from runners.services import Services, free_port
from runners.services.services import Group
from runners.spark import cluster as spark
from tests.services.conftest import need


class Cluster:
    """A cluster, and how to submit to it."""

    def __init__(self, name: str, services: Services, data: Path) -> None:
        self.services = services
        self.data = data
        self.submit = ("prestacop", name, "submit", "--data", str(data))

    def run(self, *flags: str) -> subprocess.CompletedProcess[str]:
        """Submit, as a user does."""
        command = [sys.executable, "-m", *self.submit, "--quiet", *flags]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def prepared(name: str, folder: Path) -> Services:
    """The services of a cluster, none of which runs yet; skips the test where the machine lacks a tool."""
    group: Group = {"flink": flink.GROUP, "spark": spark.GROUP}[name]
    services = Services(data=folder, ports={kind.name: free_port() for kind in group.kinds}, group=group)
    for kind in group.kinds:
        need(services, kind.name)
    services.install()  # before a command is waited for
    return services


@contextmanager
def running(name: str, folder: Path) -> Iterator[Cluster]:
    """A cluster while the body runs; its workers have the environment of this process."""
    services = prepared(name, folder)
    try:
        services.up()
        yield Cluster(name, services, folder)
    finally:
        services.down()
