"""Google Cloud Pub/Sub: what passes by itself."""

from typing import Final

from google.api_core import exceptions
from google.api_core.retry import if_exception_type

PASSES: Final = if_exception_type(
    exceptions.Aborted,
    exceptions.Cancelled,
    exceptions.DeadlineExceeded,
    exceptions.InternalServerError,
    exceptions.ResourceExhausted,
    exceptions.ServiceUnavailable,
    exceptions.Unknown,
)
"""Whether who publishes, or looks for a topic, is to try again after an error."""
