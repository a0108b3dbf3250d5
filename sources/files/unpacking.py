"""Unpack a file of foreign origin, up to a bound: a few bytes can be packed that fill any disk."""

from typing import IO, Final

from schemas.errors import InputUnusable
from schemas.files.compression import ANY_RATIO_BYTES, MAX_RATIO

_COPIED_BYTES: Final = 1 << 20


def unpack(packed: IO[bytes], text: IO[bytes], packed_bytes: int, path: str) -> None:
    """Copy ``packed`` to ``text``.

    Args:
        packed: gives the text of a packed file, as :func:`schemas.files.compression.unpacked` opens it.
        packed_bytes: the size of that file.
        path: its name in messages.

    Raises:
        InputUnusable: as soon as the text is longer than MAX_RATIO allows for a file of this size.
    """
    bound = max(ANY_RATIO_BYTES, MAX_RATIO * packed_bytes)
    size = 0
    while chunk := packed.read(_COPIED_BYTES):
        size += len(chunk)
        if size > bound:
            raise InputUnusable(
                f"{path}: {packed_bytes:,} packed bytes are more than {bound:,} bytes of text, over {MAX_RATIO} times "
                "as many: unpacking was stopped, since no CSV file compresses so well. If you trust the file, unpack "
                "it yourself and give the text"
            )
        text.write(chunk)
