"""The local runner sends whole elements between steps."""

from apache_beam.runners.portability.fn_api_runner import worker_handlers

NO_TIME_LIMIT = -1


def send_whole_elements() -> None:
    """From now on the FnApiRunner of this process and its threads send a buffer when it is large enough or complete.

    Beam would also send it each second, from a thread that does not wait until the element that is being encoded is
    complete. The receiver then decodes half an element, and what is written while the buffer is sent is lost.
    """
    worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = NO_TIME_LIMIT
