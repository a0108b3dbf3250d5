"""How long the text of a packed file may be: a few bytes can be packed that fill any disk."""

from typing import Final

MAX_RATIO: Final = 64
"""Text may be so many times as long as its packed form: the city's files are 4 to 10 times, a gzip bomb is 1,000."""
ANY_RATIO_BYTES: Final = 256 << 20
"""Up to here the ratio does not matter: a short file of many equal lines is no harm."""
