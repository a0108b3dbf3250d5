"""The graphs, and the commands that run them."""

import logging

from terminal.signals import end_while_loading

end_while_loading()


def _not_about_gcp(record: logging.LogRecord) -> bool:
    """Beam's import says that its Google extras are missing, which nothing here needs."""
    message = record.getMessage()
    return "GCSFileSystem" not in message and "apitools" not in message


for _logger in (logging.getLogger(), logging.getLogger("apache_beam.io.filesystems")):
    _logger.addFilter(_not_about_gcp)
