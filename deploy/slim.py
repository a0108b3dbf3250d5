"""Uninstall what the project does not need to run: constraints.txt has the tools of its developers, too."""

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distributions, requires
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOTS: Final = ("prestacop[gcp]", "pip", "setuptools")


def needed() -> set[str]:
    """The names of the packages that the roots need here."""
    pending, seen = [Requirement(root) for root in ROOTS], set[tuple[str, str]]()
    while pending:
        one = pending.pop()
        for extra in ("", *one.extras):
            if (pair := (canonicalize_name(one.name), extra)) in seen:
                continue
            seen.add(pair)
            try:
                found = [Requirement(text) for text in requires(one.name) or ()]
            except PackageNotFoundError:  # one that another operating system needs
                continue
            pending += [need for need in found if need.marker is None or need.marker.evaluate({"extra": extra})]
    return {name for name, _ in seen}


if __name__ == "__main__":
    unneeded = {canonicalize_name(one.metadata["Name"]) for one in distributions()} - needed()
    subprocess.run([sys.executable, "-m", "pip", "uninstall", "--quiet", "--yes", *sorted(unneeded)], check=True)
