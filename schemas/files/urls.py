"""URLs of files and buckets. The escapes of a ``file://`` URL are decoded, as RFC 8089 specifies."""

import os
import re
from collections.abc import Callable
from typing import Final
from urllib.parse import unquote

FILE: Final = "file://"
S3: Final = "s3://"
GS: Final = "gs://"
PLACE: Final = "a directory, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX"
"""Where a lake can be, for people."""
_ESCAPED: Final = re.compile("(?:%[0-9A-Fa-f]{2})+")


def local_path(url: str) -> str:
    """The path of a ``file://`` URL; other text is a path as it is.

    A URL whose text is the name of an existing file is that file: earlier versions decoded no escapes.
    """
    if not url.startswith(FILE):
        return url
    plain = url.removeprefix(FILE)
    return plain if os.path.lexists(plain) else unescaped(url)


def plain_path(text: str) -> str:
    """``file:PATH``, which is short for a path and has no escapes, as that path; other text as it is."""
    return text if text.startswith(FILE) else text.removeprefix("file:")


def unescaped(url: str, quote: Callable[[str], str] = str) -> str:
    """The path of a ``file://`` URL, each run of escapes decoded and given to ``quote``."""
    path = re.sub("^localhost/", "/", url.removeprefix(FILE))
    return _ESCAPED.sub(lambda found: quote(unquote(found[0], errors="surrogateescape")), path)
