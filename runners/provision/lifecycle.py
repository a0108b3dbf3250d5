"""The lifecycle rules of a bucket.

S3 takes the rules of a bucket all at once, so those of others are read and put back as they are. Nothing guards
the moment between: two that change the rules of one bucket at the same time lose those of one.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from lake.faults import faults
from lake.storage import s3_endpoint
from runners.provision.diff import CREATED, WARNING, Difference, Line, Mode, compared
from runners.provision.spec import LakeBucket
from schemas.errors import TopicUnusable

UPLOAD_DAYS: Final = 1
"""The largest file of the lake is written in minutes."""
_NO_RULES: Final = "NoSuchLifecycleConfiguration"
_NO_SUCH_CALL: Final = ("NotImplemented", "MethodNotAllowed", "XNotImplemented")
_MINIMUM: Final = "TransitionDefaultMinimumObjectSize"
"""A setting of the bucket that comes with its rules; it goes back to its default where it is not put with them."""

_WHAT_FOLLOWS: Final = (
    "this server has no lifecycle rules: pictures stay until they are removed, and so do the files that "
    "crashes leave in spool/ and unfinished uploads"
)
_REFUSALS: Final = ("InvalidRequest", "InvalidArgument", "MalformedXML")

Rule = dict[str, Any]


class Keep(NamedTuple):
    """How long."""

    picture_days: int
    spool_days: int
    """Of segments that were taken from Pub/Sub. The pipeline deletes each when it is committed; the rule sweeps
    files of a crashed run that was never resumed. A pipeline that pauses longer loses its spooled messages."""


def make(lake: LakeBucket, keep: Keep, mode: Mode) -> list[Line]:
    """Add the rules that are missing, compare the others, put back those that are not ours."""
    with _errors(lake.bucket):
        client = boto3.Session().client("s3", config=Config(retries={"mode": "standard", "total_max_attempts": 5}))
        try:
            found = _found(client, lake.bucket)
            lines: list[Line] = []
            made: list[Rule] = []
            for rule in _rules(lake, keep):
                changed, compared_lines = _compare(found["Rules"], rule, f"s3 rule {lake.bucket} {rule['ID']}", mode)
                lines += compared_lines
                made += [rule] if changed else []
            if made and not mode.dry_run:
                client.put_bucket_lifecycle_configuration(**_request(lake.bucket, found, made))
            return lines
        except ClientError as error:
            if _code(error) in _NO_SUCH_CALL:
                return [Line(WARNING, f"s3 rules of {lake.bucket}", _WHAT_FOLLOWS)]
            raise


def _found(client: Any, bucket: str) -> dict[str, Any]:
    """The answer with the bucket's rules."""
    try:
        answer: dict[str, Any] = client.get_bucket_lifecycle_configuration(Bucket=bucket)
        return answer
    except ClientError as error:
        if _code(error) == _NO_RULES:
            return {"Rules": []}
        raise


def _rules(lake: LakeBucket, keep: Keep) -> list[Rule]:
    """Ours; a second lake in the same bucket has rules of its own."""
    return [
        {
            "ID": "prestacop-uploads",
            "Filter": {"Prefix": ""},
            "Status": "Enabled",
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": UPLOAD_DAYS},
        },
        _expires(lake, "pictures", keep.picture_days),
        _expires(lake, "spool", keep.spool_days),
    ]


def _expires(lake: LakeBucket, folder: str, days: int) -> Rule:
    return {
        "ID": f"prestacop-{folder}:{lake.prefix}",
        "Filter": {"Prefix": f"{lake.prefix}{folder}/"},
        "Status": "Enabled",
        "Expiration": {"Days": days},
    }


def _compare(found: list[Rule], rule: Rule, thing: str, mode: Mode) -> tuple[bool, list[Line]]:
    """Whether the rule must be written, and its lines."""
    detail = _text({key: value for key, value in rule.items() if key not in ("ID", "Status")})
    same = [other for other in found if other.get("ID") == rule["ID"]]
    if not same:
        return True, [Line(CREATED, thing, detail)]
    differences = [
        Difference(key, _text(same[0].get(key)), _text(rule.get(key)))
        for key in sorted({*same[0], *rule})
        if same[0].get(key) != rule.get(key)
    ]
    changed, lines = compared(thing, detail, differences, mode)
    return bool(changed), lines


def _request(bucket: str, found: dict[str, Any], made: list[Rule]) -> dict[str, Any]:
    ours = {rule["ID"] for rule in made}
    rules = [rule for rule in found["Rules"] if rule.get("ID") not in ours] + made
    kept = {_MINIMUM: found[_MINIMUM]} if _MINIMUM in found else {}
    return {"Bucket": bucket, "LifecycleConfiguration": {"Rules": rules}, **kept}


def _text(value: Any) -> str:
    return json.dumps(value, default=str)  # a rule of others may have a date


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code"))


@contextmanager
def _errors(bucket: str) -> Iterator[None]:
    s3_endpoint()
    with faults(f"s3://{bucket}"):
        try:
            yield
        except ClientError as error:
            if _code(error) in _REFUSALS:
                raise TopicUnusable(f"s3://{bucket}: {error}") from error
            raise
