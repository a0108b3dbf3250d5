"""Pictures that drones have uploaded to the lake (v2 of the images' messages), fetched from there."""

import hashlib

from schemas.decoding import Undecodable
from schemas.errors import InputUnusable
from schemas.messages import MAX_IMAGE_BYTES, Reason
from schemas.pictures import check_jpeg, picture_path


def fetch(root: str | None, sha256: str) -> bytes:
    """A picture, by the SHA-256 of its content, from a lake: a directory, ``s3://`` or ``gs://``.

    Raises:
        Undecodable: the lake does not have it, or has something else under its name.
        InputUnusable: it is not known which lake.
        OutputUnusable, NotPermitted, ServiceUnavailable: the lake cannot be read.
    """
    if root is None:
        raise InputUnusable("alerts have pictures that drones uploaded to the lake: start the console with --lake")
    from lake.storage import storage  # noqa: PLC0415  # it takes a second to import, and few consoles need it

    path, store = picture_path(sha256), storage(root)
    size = store.size(path)
    if size is None:
        raise Undecodable(Reason.IMAGE_NOT_UPLOADED, path)
    if size > MAX_IMAGE_BYTES:
        raise Undecodable(Reason.TOO_LARGE, f"{path} has {size} bytes")
    try:
        jpeg = store.read(path)
    except FileNotFoundError as error:  # it was deleted meanwhile
        raise Undecodable(Reason.IMAGE_NOT_UPLOADED, path) from error
    if hashlib.sha256(jpeg).hexdigest() != sha256:
        raise Undecodable(Reason.FIELD_INVALID, f"{path} has another SHA-256")
    check_jpeg(jpeg)
    return jpeg
