"""The command ``prestacop``."""

from terminal.signals import end_while_loading

__version__ = "0.1.0"

end_while_loading()
