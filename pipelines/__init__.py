"""The graphs, and the commands that run them."""

import logging

from terminal.signals import end_while_loading

end_while_loading()


def _not_about_gcp(record: logging.LogRecord) -> bool:
    """Beam's import says that its Google extras are missing, which nothing here needs."""
    message = record.getMessage()
    return "GCSFileSystem" not in message and "apitools" not in message


def _not_of_a_job(record: logging.LogRecord) -> bool:
    """Beam logs what a job server says of an error, and raises the same."""
    return record.module != "portable_runner" or record.levelno < logging.ERROR


_root = logging.getLogger()
_filesystems = logging.getLogger("apache_beam.io.filesystems")
for _logger in (_root, _filesystems):
    _logger.addFilter(_not_about_gcp)
_root.addFilter(_not_of_a_job)
