"""``make doctor``: what this machine can run, and what to install for the rest."""

import argparse
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import psutil

from runners.services import NAMES, Services
from runners.services.java import java
from schemas.errors import ServiceUnavailable
from schemas.history import TIME_ZONE
from terminal.arguments import command_parser

GIGABYTE = 1e9
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
"""The versions of Python that setup.py supports; the unit tests have passed on each."""
PACKAGES = ("apache-beam", "pyarrow", "duckdb", "msgspec", "google-cloud-pubsub")


class Finding(NamedTuple):
    """One line of the report."""

    name: str
    good: bool
    needed: bool
    """Whether ``make run-local`` needs it."""
    text: str


def findings() -> Iterator[Finding]:
    """Inspect this machine."""
    is_supported = ".".join(platform.python_version_tuple()[:2]) in PYTHONS
    supported = f"{PYTHONS[0]} to {PYTHONS[-1]} are supported and tested"
    yield Finding("Python", is_supported, True, f"{platform.python_version()}; {supported}")
    for package in PACKAGES:
        yield Finding(package, True, True, importlib.metadata.version(package))
    yield _time_zone()
    cores, memory = os.cpu_count() or 1, psutil.virtual_memory().available / GIGABYTE
    yield Finding("cores", cores >= 2, False, f"{cores}; the DirectRunner uses them all")
    yield Finding("memory", memory > 1.5, True, f"{memory:.1f} GB free; a local run takes about 1 GB")
    disk = shutil.disk_usage(Path.cwd()).free / GIGABYTE
    yield Finding("disk", disk > 2, True, f"{disk:.1f} GB free here; run-local takes about 0.5 GB")
    found = java()
    yield Finding("Java", found.is_supported, False, found.text)
    maven = _first_line("mvn", "-version")
    yield Finding("Maven", bool(maven), False, maven or "not found; it fetches Kafka")
    go = _first_line("go", "version")
    yield Finding("Go", bool(go), False, go or "not found; Prism, the Pub/Sub and the S3 server are built with it")
    installed = [name for name in (*NAMES, "prism") if Services().is_installed(name)]
    yield Finding("services", bool(installed), False, f"installed: {', '.join(installed) or 'none'}; make services-up")
    endpoint = os.environ.get("AWS_ENDPOINT_URL", "Amazon's own")
    keys = bool(os.environ.get("AWS_ACCESS_KEY_ID") or os.environ.get("AWS_PROFILE") or (Path.home() / ".aws").exists())
    yield Finding("S3", keys, False, f"endpoint {endpoint}; " + ("keys at hand" if keys else "no keys: AWS_PROFILE"))


def _time_zone() -> Finding:
    try:
        ZoneInfo(TIME_ZONE)
    except ZoneInfoNotFoundError:
        return Finding("time zones", False, True, "no tzdata: install the package tzdata of your system")
    return Finding("time zones", True, True, TIME_ZONE)


def _first_line(*command: str) -> str | None:
    if shutil.which(command[0]) is None:
        return None
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = (found.stdout or found.stderr).splitlines()
    return re.sub(r"\x1b\[\d*m", "", lines[0]) if lines and not found.returncode else None  # Maven writes in colours


def parser() -> argparse.ArgumentParser:
    """Of ``prestacop doctor``."""
    return command_parser(
        "prestacop doctor",
        "Report what this machine can run, and what to install for the rest.",
        "example:\n  prestacop doctor\n\nexit codes: 0 run-local can run here, 4 something that it needs is missing",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Print the report; 0 if ``make run-local`` can run."""
    parser().parse_args(argv)
    seen = list(findings())
    for finding in seen:
        mark = "ok" if finding.good else "missing" if finding.needed else "no"
        print(f"  {mark:8}{finding.name:20}{finding.text}")
    blocking = [finding.name for finding in seen if finding.needed and not finding.good]
    print(f"run-local cannot run: {', '.join(blocking)}" if blocking else "run-local can run here")
    return ServiceUnavailable.exit_code if blocking else 0
