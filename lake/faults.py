"""What the operating system, a bucket or Parquet says, as an error that says what to do and has the right exit code.

The same condition has the same code, whichever command meets it: no room 5, no right 7, not there 3, a service that
does not answer 4, a place or a name that cannot be used 2 (of an output) or 3 (of an input).
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
import pyarrow as pa
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    InvalidRegionError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
)
from google.api_core.exceptions import GoogleAPICallError, GoogleAPIError
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, RefreshError
from requests.exceptions import RequestException

from schemas.errors import (
    InputUnusable,
    LakeDamaged,
    NotPermitted,
    OutputUnusable,
    PrestaCopError,
    ServiceUnavailable,
)
from schemas.files.urls import GS, S3
from schemas.os_errors import of_the_system
from schemas.s3_errors import refusal

_CHECK = {
    S3: "Check the bucket, AWS_ENDPOINT_URL and the credentials",
    GS: "Check the bucket, STORAGE_EMULATOR_HOST and the credentials",
}
_GCS_CREDENTIALS = (
    "Set GOOGLE_APPLICATION_CREDENTIALS, or run gcloud auth application-default login; the account needs the role "
    "roles/storage.objectUser on the bucket"
)
_OF_GCS = re.compile(r"[^\n]*google::cloud::Status\((\w+)[^\n]*")
_GCS_STATUSES = {"INVALID_ARGUMENT": 400, "UNAUTHENTICATED": 401, "PERMISSION_DENIED": 403, "NOT_FOUND": 404}
"""pyarrow has Google's names of these HTTP statuses."""
_OF_AWS = re.compile(r"[^\n]*AWS Error .*")
_GONE = re.compile(r"AWS Error (NO_SUCH_KEY|RESOURCE_NOT_FOUND) during GetObject")
_CODE_OF_AWS = re.compile(r"ExceptionName: (\w+)|AWS Error (?!UNKNOWN)(\w+)")
_STATUS_OF_AWS = re.compile(r"HTTP status (\d+)")
_PARQUET = re.compile(
    r"[Pp]arquet|[Tt]hrift|TProtocol|[Pp]age\b|[Dd]ecompress|ZSTD|CRC|dictionary|levels|Corrupt|Unexpected end"
)


_OF_A_QUERY = (
    duckdb.ParserException, duckdb.SyntaxException, duckdb.BinderException, duckdb.CatalogException,
    duckdb.OutOfMemoryException, duckdb.InterruptException,
)  # fmt: skip


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
    except (OSError, UnicodeError, BotoCoreError, ClientError, GoogleAPIError, GoogleAuthError) as error:
        raise meaning(error, where, unusable) from error
    except pa.ArrowException as error:
        if not _OF_GCS.search(str(error)):
            raise
        raise meaning(error, where, unusable) from error


def is_gone(error: OSError) -> bool:
    """Whether a file is not there, of S3 also where pyarrow had found it and it was removed before it was read."""
    return isinstance(error, FileNotFoundError) or bool(_GONE.search(str(error)))


def meaning(
    error: Exception,
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
    if isinstance(error, GoogleAPIError | GoogleAuthError | RequestException):
        return _of_gcs(error, where)
    if found := _OF_GCS.search(str(error)):
        return _refused_by_gcs(where, found[0], _GCS_STATUSES.get(found[1])) or no_answer(where, found[0])
    if found := _OF_AWS.search(str(error)):
        return _of_s3_text(found[0], where)
    if isinstance(error, OSError | UnicodeError):
        if isinstance(error, OSError) and error.errno is None:  # pyarrow's
            return damaged(error, where) if _PARQUET.search(str(error)) else _of_s3_text(str(error), where)
        return of_the_system(error, where, unusable)
    return damaged(error, where)


def is_fault(error: BaseException) -> bool:
    """Whether :func:`meaning` can tell what an error means, of whatever type; of a worker's there is but the text."""
    if isinstance(error, OSError | BotoCoreError | ClientError):
        return True
    if _OF_AWS.search(str(error)) or _OF_GCS.search(str(error)):
        return True
    if type(error) is duckdb.Error:  # what reads Parquet raises it where nobody foresaw what a file holds
        return True
    of_a_file = isinstance(error, pa.ArrowException | duckdb.Error) and not isinstance(error, _OF_A_QUERY)
    return of_a_file and is_damage(error)


def damaged(error: Exception, where: str) -> LakeDamaged:
    """The error of a file of the lake that is not what was written."""
    first = str(error).partition("\n")[0]
    return LakeDamaged(f"{where}: a file of the lake is damaged: {first}; run prestacop reconcile, which names it")


def is_damage(error: BaseException) -> bool:
    """Whether the text of an error of pyarrow or DuckDB speaks of a file's inside."""
    text = str(error)
    return not ("AWS Error" in text or "google::cloud" in text) and bool(_PARQUET.search(text))


def _of_s3(error: ClientError | BotoCoreError, where: str) -> PrestaCopError:
    if isinstance(error, NoCredentialsError | PartialCredentialsError | ProfileNotFound):
        return NotPermitted(f"{where}: {error}. Set AWS_PROFILE, or the keys in the environment")
    if isinstance(error, ParamValidationError | NoRegionError | InvalidRegionError):
        said = " ".join(str(error).split())
        return OutputUnusable(f"{where}: {said}. Write s3://BUCKET/PREFIX, and check AWS_ENDPOINT_URL and the region")
    if isinstance(error, ClientError):
        if code(error) in ("NoSuchBucket", "404"):
            return _no_bucket(where)
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if refused := refusal(where, error, code(error), status):
            return refused
    return no_answer(where, error)


def _of_gcs(error: Exception, where: str) -> PrestaCopError:
    if isinstance(error, DefaultCredentialsError | RefreshError) and not getattr(error, "retryable", False):
        return NotPermitted(f"{where}: {error}. {_GCS_CREDENTIALS}")
    status = error.code if isinstance(error, GoogleAPICallError) else None
    return _refused_by_gcs(where, error, status) or no_answer(where, error)


def _refused_by_gcs(where: str, answer: object, status: int | None) -> PrestaCopError | None:
    if status in (401, 403):
        return NotPermitted(f"{where}: {answer}. {_GCS_CREDENTIALS}")
    if status == 404:
        return _no_bucket(where)
    if status == 400:
        return OutputUnusable(f"{where}: {answer}. Write {GS}BUCKET/PREFIX, and check the name of the bucket")
    return None


def refused_by_bucket(where: str, answer: str, code: str, status: int | None) -> PrestaCopError | None:
    """The error of an answer of a bucket's server that no waiting changes; none where it is another kind of answer."""
    if where.startswith(GS):
        return None if status == 404 else _refused_by_gcs(where, answer, status)
    return refusal(where, answer, code, status)


def no_answer(where: str, error: object) -> ServiceUnavailable:
    """The error of a bucket whose server does not answer, or with an error of its own."""
    return ServiceUnavailable(f"{where}: {error}. {_CHECK[GS if where.startswith(GS) else S3]}")


def _of_s3_text(text: str, where: str) -> PrestaCopError:
    """The error of S3 in the text of one of pyarrow's, which has its code and status nowhere else."""
    status = found[1] if (found := _STATUS_OF_AWS.search(text)) else ""
    word = (found[1] or found[2].title().replace("_", "")) if (found := _CODE_OF_AWS.search(text)) else status
    if word == "NoSuchBucket":
        return _no_bucket(where)
    return refusal(where, text, word, int(status) if status else None) or no_answer(where, text)


def _no_bucket(where: str) -> InputUnusable:
    bucket = re.sub("^(s3|gs)://", "", where).partition("/")[0]
    variable = "STORAGE_EMULATOR_HOST" if where.startswith(GS) else "AWS_ENDPOINT_URL"
    return InputUnusable(f"{where}: there is no bucket {bucket}; check the name and {variable}, or make it first")
