"""The lines that the simulator prints of its fleet, as ``prestacop live`` reads them."""

import re
from typing import Final

FLIES: Final = "simulator: the fleet flies"
"""With its first message: a busy machine takes long to start it."""
_MESSAGES: Final = re.compile(r"simulator: ([\d.,]+) ?([kMG]?) ?messages")
_TIMES: Final = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}


def published_count(output: str) -> int:
    """How many messages were published: by the last line since each start of the simulator.

    Where it was killed that is a line of its progress, which has three digits.

    >>> published_count(f"{FLIES}\\nsimulator: 998 messages, 10 messages/s\\nsimulator: 1,250 messages in 2.0 s")
    1250
    >>> published_count(f"{FLIES}\\nsimulator: 1.23 k messages\\n{FLIES}\\nsimulator: 250 messages in 2.0 s")
    1480
    """
    last = [found[-1] for found in map(_MESSAGES.findall, output.split(FLIES)) if found]
    return sum(round(float(number.replace(",", "")) * _TIMES[prefix]) for number, prefix in last)
