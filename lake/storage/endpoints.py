"""The servers that environment variables name."""

import os
from urllib.parse import urlsplit

from schemas.errors import OutputUnusable


def endpoint(*variables: str) -> str | None:
    """The endpoint of the first of these variables that is set, if any. Raises OutputUnusable where it is not the URL
    of a server."""
    given = next(filter(None, map(os.environ.get, variables)), None)
    if not given:
        return None
    try:
        parts = urlsplit(given)
        is_one = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port is not a number, or out of range
        is_one = False
    if not is_one:
        raise OutputUnusable(f"{variables[-1]} is {given!r}; write http://HOST:PORT or https://HOST")
    return given
