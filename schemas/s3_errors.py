"""Translates S3's refusal of a request into an error that says what to do, for the lake and the loader."""

from typing import Final

from schemas.errors import NotPermitted, OutputUnusable, PrestaCopError

_CLOCK: Final = frozenset({"RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"})
_TOKEN: Final = frozenset({"ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired"})
"""S3 answers them with status 400."""
_REGION: Final = frozenset({"AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect"})
_DENIED: Final = frozenset(
    {"AccessDenied", "IncompleteSignature", "InvalidAccessKeyId", "InvalidClientTokenId", "MissingAuthenticationToken",
     "SignatureDoesNotMatch", "UnrecognizedClient", "400"}
)  # fmt: skip
"""An answer to HEAD has no body: with status 400 S3 means a token or a region there."""
_DENIED_STATUSES: Final = (401, 403)


def refusal(where: str, answer: object, code: str, status: int | None) -> PrestaCopError | None:
    """The error of an answer that no waiting changes; none where it is another kind of answer.

    Args:
        where: the place in question, for people.
        answer: S3's, for people.
        code: S3's word for it, or the status again where the answer has no body.
    """
    if code in _CLOCK:
        return NotPermitted(f"{where}: {answer}. This machine's clock is off: set it, and run the same command again")
    if code in _TOKEN:
        return NotPermitted(f"{where}: {answer}. Get new credentials, and run the same command again")
    if code in _REGION:
        return OutputUnusable(f"{where}: {answer}. Set AWS_DEFAULT_REGION to the bucket's region")
    if code in _DENIED or status in _DENIED_STATUSES:
        return NotPermitted(
            f"{where}: {answer}. Check the bucket, AWS_ENDPOINT_URL, AWS_PROFILE or the keys, "
            "and the rights to get, put, list and delete"
        )
    return None
