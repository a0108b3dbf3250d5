"""What the operating system, S3 or Parquet says, as an error that says what to do and has the right exit code.

The same condition has the same code, whichever command meets it: no room 5, no right 7, not there 3, a service that
does not answer 4, a place or a name that cannot be used 2 (of an output) or 3 (of an input).
"""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
)

from schemas.errors import (
    DiskFull,
    InputUnusable,
    LakeDamaged,
    NotPermitted,
    OutputUnusable,
    PrestaCopError,
    ServiceUnavailable,
)

S3_CHECK = "Check the bucket, AWS_ENDPOINT_URL and the credentials"
_DENIED_CODES = frozenset(
    {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "403", "401"}
)
_DENIED = re.compile(
    r"AWS Error (ACCESS_DENIED|INVALID_ACCESS_KEY_ID|SIGNATURE_DOES_NOT_MATCH|\w*TOKEN\w*)|status 40[13]"
)
_NO_BUCKET = re.compile(r"AWS Error NO_SUCH_BUCKET")
_PARQUET = re.compile(r"[Pp]arquet|[Tt]hrift|[Pp]age\b|[Dd]ecompress|ZSTD|CRC|dictionary|levels|Corrupt|Unexpected end")


def code(error: ClientError) -> str:
    """S3's own word for what went wrong; of an answer without a body its status."""
    return str(error.response.get("Error", {}).get("Code", ""))


@contextmanager
def faults(where: str, unusable: type[PrestaCopError] = OutputUnusable) -> Iterator[None]:
    """Around what reads or writes there; a file that is not there (FileNotFoundError) is for the caller to judge."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (OSError, UnicodeError, BotoCoreError, ClientError) as error:
        raise meaning(error, where, unusable) from error


def meaning(
    error: OSError | UnicodeError | BotoCoreError | ClientError,
    where: str,
    unusable: type[PrestaCopError] = OutputUnusable,
) -> PrestaCopError:
    """The error that says what to do.

    Args:
        where: the place in question, for people.
        unusable: what it is called when nothing but another place or name helps.
    """
    if isinstance(error, ClientError | BotoCoreError):
        return _of_s3(error, where)
    if isinstance(error, UnicodeError):
        return unusable(f"{where!r}: a name must be UTF-8; rename it")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"{where}: no room left; free some and run the same command again, it goes on")
    if error.errno in (errno.EACCES, errno.EPERM):
        return NotPermitted(f"{where}: {error.strerror}; give this user the right, or choose another place")
    if error.errno is None and (
        where.startswith("s3://") or "AWS Error" in str(error)
    ):  # pyarrow's errors of S3 have no number
        if _DENIED.search(str(error)):
            return NotPermitted(f"{where}: {error}. {S3_CHECK}")
        if _NO_BUCKET.search(str(error)):
            return _no_bucket(where)
        return ServiceUnavailable(f"{where}: {error}. {S3_CHECK}")
    if error.errno is None and _PARQUET.search(str(error)):
        return damaged(error, where)
    named = f" ({error.filename})" if error.filename and str(error.filename) != where else ""
    return unusable(f"{where}: {error.strerror or error}{named}; choose another place")


def damaged(error: Exception, where: str) -> LakeDamaged:
    """The error of a file of the lake that is not what was written."""
    first = str(error).partition("\n")[0]
    return LakeDamaged(
        f"{where}: a file of the lake is damaged: {first}; run python -m pipelines.reconcile, which names it"
    )


def is_damage(error: BaseException) -> bool:
    """Whether the text of an error of pyarrow or DuckDB speaks of a file's inside."""
    return "AWS Error" not in str(error) and bool(_PARQUET.search(str(error)))


def _of_s3(error: ClientError | BotoCoreError, where: str) -> PrestaCopError:
    if isinstance(error, NoCredentialsError | PartialCredentialsError | ProfileNotFound):
        return NotPermitted(f"{where}: {error}. Set AWS_PROFILE, or the keys in the environment")
    if isinstance(error, ParamValidationError | NoRegionError):
        return OutputUnusable(f"{where}: {error}. Write s3://BUCKET/PREFIX, and check AWS_ENDPOINT_URL and the region")
    if isinstance(error, ClientError):
        if code(error) in ("NoSuchBucket", "404"):
            return _no_bucket(where)
        if code(error) in _DENIED_CODES:
            return NotPermitted(f"{where}: {error}. {S3_CHECK}, and the rights to get, put, list and delete")
    return ServiceUnavailable(f"{where}: {error}. {S3_CHECK}")


def _no_bucket(where: str) -> InputUnusable:
    bucket = where.removeprefix("s3://").partition("/")[0]
    return InputUnusable(f"{where}: there is no bucket {bucket}; check the name and AWS_ENDPOINT_URL, or make it first")
