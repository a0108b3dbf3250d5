"""Prometheus and promtool from Debian's package, which is only unpacked: to install it would start a server."""

import os
import re
import shutil
from pathlib import Path
from typing import Any, Final

import pytest

from runners.services.programs import HOME, TARGET, Program

OBSERVABILITY: Final = Path(__file__).parents[1] / "deploy" / "observability"
_PACKAGE: Final = "prometheus"
_GET: Final = f"apt-get download {_PACKAGE}"
# A new machine has no lists of packages yet.
_INSTALL: Final = f"({_GET} || (apt-get update && {_GET})) && dpkg -x {_PACKAGE}_*.deb . && rm {_PACKAGE}_*.deb"
_PROMETHEUS: Final = Program(
    "prometheus", ("sh", "-c", f"cd {TARGET} && {_INSTALL}"), "usr/bin/prometheus", tool="apt-get"
)
_NAME: Final = re.compile(r"\bprestacop_\w+?(?=(?:_bucket)?\b)")
_ANY: Final = {"$instance": ".+", "$__rate_interval": "1m", "$__range": "1m"}
"""Values of Grafana's variables."""


def prometheus() -> Path:
    """Its program, with promtool beside it. Skips the test where the machine has no apt-get; CI has it."""
    if not _PROMETHEUS.is_installed(HOME) and shutil.which("apt-get") is None:
        assert "CI" not in os.environ, "CI needs apt-get, for Prometheus"
        pytest.skip("no apt-get: Prometheus is taken from Debian's package")
    return _PROMETHEUS.install(HOME)


def names(text: str) -> set[str]:
    """The metrics of this project in a query."""
    return set(_NAME.findall(text))


def queries(dashboard: Any) -> list[str]:
    """The queries of the panels of a dashboard, over all instances."""
    found = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    for variable, value in _ANY.items():
        found = [query.replace(variable, value) for query in found]
    return found
