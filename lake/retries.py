"""What of a call to a bucket passes when it is made again, and for how long it is made again: by time, not by count."""

import math
import os
import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final, TypeVar, cast

import pyarrow as pa
from botocore.exceptions import (
    ClientError,
    ConnectionError,
    HTTPClientError,
    IncompleteReadError,
    ResponseStreamingError,
    SSLError,
)
from google.api_core.exceptions import GoogleAPICallError, RetryError
from google.api_core.retry import Retry
from google.auth.exceptions import TransportError
from requests import exceptions as http

from schemas.errors import OutputUnusable, ServiceUnavailable

PATIENCE = "PRESTACOP_S3_PATIENCE"
"""The environment variable that says for how many seconds a call is made again."""
PATIENCE_S = 120.0
FIRST_CONTACT_S = 10.0
"""For a service that this process has not reached yet: it is more likely a wrong address than an outage."""
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 10.0
_CONFLICT = "ConditionalRequestConflict"
"""Another write of this key was going on: nothing is said about who won."""
_CODES = frozenset({_CONFLICT, "OperationAborted", "RequestTimeout", "SlowDown", "Throttling", "ThrottlingException"})
_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
_OF_PYARROW = re.compile(
    r"AWS Error (NETWORK_CONNECTION|REQUEST_TIMEOUT|SLOW_DOWN|SERVICE_UNAVAILABLE|INTERNAL_FAILURE|THROTTLING)"
    r"|HTTP status (409|429|50[0234])\b|curlCode"
    r"|google::cloud::Status\((UNAVAILABLE|DEADLINE_EXCEEDED|INTERNAL|RESOURCE_EXHAUSTED|ABORTED|DATA_LOSS)"
)
"""pyarrow has the server's answer in its message alone."""
_CONNECTIONS = (
    ConnectionError, HTTPClientError, IncompleteReadError, ResponseStreamingError,
    TransportError, http.ConnectionError, http.Timeout, http.ChunkedEncodingError,
)  # fmt: skip
_FAILED: Final = "failed calls"
_MADE: Final = "S3 "
"""The names of counters in a report; that of requests has the operation behind it."""

T = TypeVar("T")


class Requests:
    """The requests of this process to S3, safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.made: Counter[str] = Counter()
        """By operation."""
        self.failed = 0
        """Calls that failed in a way that may pass."""

    def count(self, operation: str) -> None:
        """One more was made."""
        with self._lock:
            self.made[operation] += 1

    def count_failed(self, error: Exception) -> None:
        """One more has failed so."""
        with self._lock:
            self.failed += 1

    def counts(self) -> Counter[str]:
        """All of it by name, to be added in another process."""
        with self._lock:
            return Counter({_FAILED: self.failed, **{f"{_MADE}{name}": n for name, n in self.made.items()}})

    def add(self, counts: Mapping[str, int]) -> None:
        """Add what another process has counted."""
        with self._lock:
            self.failed += counts.get(_FAILED, 0)
            self.made.update({name.removeprefix(_MADE): n for name, n in counts.items() if name.startswith(_MADE)})


requests = Requests()
"""Of this process; those that pyarrow and the library of the Delta tables make are not among them."""


class Contradiction(ServiceUnavailable):
    """The server says of a key that it exists and that it does not: it passes where somebody removes the object now."""


def patience() -> float:
    """For how many seconds a call to a service that was reached before is made again. Raises OutputUnusable where the
    environment does not say it in seconds."""
    given = os.environ.get(PATIENCE, PATIENCE_S)
    with suppress(ValueError):
        if 0 <= (seconds := float(given)) < math.inf:
            return seconds
    raise OutputUnusable(f"{PATIENCE} is {given!r}; write a number of seconds, such as 120")


def doublings(seconds: float) -> int:
    """How many pauses that double come to so many seconds: the AWS SDK in pyarrow counts, and begins with 25 ms."""
    return max(1, math.ceil(math.log2(seconds / 0.025 + 1)))


def passes(error: Exception) -> bool:
    """Whether a call that ended so may succeed when it is made again."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return status in _STATUSES or error.response.get("Error", {}).get("Code") in _CODES
    if isinstance(error, GoogleAPICallError):
        return error.code in _STATUSES
    if isinstance(error, Contradiction):
        return True
    if isinstance(error, OSError | pa.ArrowException) and _OF_PYARROW.search(str(error)):
        return True
    return isinstance(error, _CONNECTIONS) and not isinstance(error, SSLError | http.SSLError)


def patiently(call: Callable[[], T], seconds: float | None = None) -> T:
    """Call it, and again while its error is one that passes, for so many seconds (:func:`patience` if not given).

    Raises the last error.
    """
    timeout = patience() if seconds is None else seconds
    again = Retry(
        passes,
        initial=_FIRST_PAUSE_S,
        maximum=_LONGEST_PAUSE_S,
        multiplier=2,
        timeout=timeout,
        on_error=requests.count_failed,
    )
    try:
        return cast(T, again(call)())
    except RetryError as error:
        raise error.cause from None
