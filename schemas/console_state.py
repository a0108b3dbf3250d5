"""What other commands read in the directory that ``prestacop console`` has as ``--data``."""

from typing import Final

DATABASE: Final = "console.sqlite"
PUBLIC_KEY: Final = "console-key.pub.pem"
"""Verifies officers' answers."""
SHOWN: Final = "shown"
HELD_OUT: Final = "held out"
OFF: Final = "off"
"""What became of a suggestion: it was shown, held out for the control group, or switched off by the officer."""
