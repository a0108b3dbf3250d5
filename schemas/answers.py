"""A police officer's answer to an alert: a drone message of its own, signed with Ed25519 (RFC 8032).

Only the console has the private key; the graph has public keys. The signature covers every field of the message but
itself, so that none can be changed on the way; an answer with an unknown field is refused. An answer with the code
UNQUALIFIED means that there is no violation.
"""

import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from schemas.alerts import Alert
from schemas.errors import InputUnusable
from schemas.messages import SCHEMA_VERSION, DroneMessage

_PURPOSE: Final = b"prestacop answer v1\n"
"""Prefix of the signed bytes, so that a signature made for another purpose is not valid for an answer."""
_decode: Final = msgspec.json.Decoder(DroneMessage).decode
_END_OF_KEY: Final = b"-----END PUBLIC KEY-----"


def answer_id(answers: str, lease: str) -> str:
    """The message_id of an answer: 32 hexadecimal digits of a hash.

    Args:
        answers: the message_id of the alert.
        lease: of the alert when it was answered. A redelivery of an answer is the same message; an answer under
            another lease is another message.
    """
    return blake2b(msgspec.json.encode((answers, lease)), digest_size=16).hexdigest()


def answer_to(alert: Alert, *, lease: str, officer_id: str, violation_code: int, event_time: str) -> DroneMessage:
    """The answer to an alert, not signed yet.

    Args:
        alert: whose drone, place, plate and picture the answer repeats. Sequence and battery, which an old
            drone (v0) does not send, are 0.
        lease: see :func:`answer_id`.
        officer_id: who answers.
        violation_code: 1 to 99; UNQUALIFIED: there is no violation.
        event_time: when the officer answered, RFC 3339, UTC.
    """
    return DroneMessage(
        schema_version=SCHEMA_VERSION,
        message_id=answer_id(alert.message_id, lease),
        drone_id=alert.drone_id,
        sequence=alert.sequence or 0,
        event_time=event_time,
        latitude=alert.latitude,
        longitude=alert.longitude,
        altitude_m=alert.altitude_m,
        battery_pct=alert.battery_pct or 0.0,
        kind="violation",
        status="officer",
        violation_code=violation_code,
        plate_id=alert.plate_id,
        image_id=alert.image_id,
        answers=alert.message_id,
        officer_id=officer_id,
    )


def sign(message: DroneMessage, key: Ed25519PrivateKey) -> DroneMessage:
    """The same message with its signature; one that it had is replaced.

    Raises msgspec.ValidationError: the graph would not read it, for a code above 99 or a text that is too long.
    """
    message = check(message)
    signature = urlsafe_b64encode(key.sign(_signed_bytes(message))).decode()
    return msgspec.structs.replace(message, signature=signature)


def check(message: DroneMessage) -> DroneMessage:
    """The same message as the graph reads it: 40 is the latitude 40.0. Raises msgspec.ValidationError: it would not."""
    return _decode(msgspec.json.encode(message))


def verify(message: DroneMessage, public_keys: Iterable[bytes]) -> bool:
    """Whether one of the keys signed the message, as it is.

    Args:
        message: decoded without unknown fields, as DroneMessage demands it.
        public_keys: 32 bytes each.
    """
    signature = message.signature or ""
    try:
        raw = urlsafe_b64decode(signature)
    except ValueError:
        return False
    if urlsafe_b64encode(raw).decode() != signature:  # the decoder skips characters that are not base64
        return False
    signed = _signed_bytes(message)
    return any(_signed_by(key, raw, signed) for key in public_keys)


def new_key() -> Ed25519PrivateKey:
    """A private key from the system's source of randomness."""
    return Ed25519PrivateKey.generate()


def public_key(key: Ed25519PrivateKey) -> bytes:
    """The public key, 32 bytes."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def save_key(key: Ed25519PrivateKey, path: Path) -> None:
    """Write a private key (PEM, PKCS 8) that its owner alone may read. Raises FileExistsError: none is overwritten."""
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)


def load_key(path: Path) -> Ed25519PrivateKey:
    """Read a private key. Raises InputUnusable: it cannot be read, others may read it, or it is not an Ed25519 key."""
    pem = _read(path, "private key")
    if path.stat().st_mode & 0o077:
        raise InputUnusable(f"{path}: others may read this private key: chmod 600 {path}, or make a new one")
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:  # TypeError: it has a password
        raise InputUnusable(f"{path}: no private key in PEM without a password: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InputUnusable(f"{path}: a private key, but none of Ed25519")
    return key


def save_public_key(key: Ed25519PrivateKey, path: Path) -> None:
    """Write the public key that belongs to a private one (PEM). Such files can be concatenated:
    during a key rotation one file has both keys."""
    path.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def load_public_keys(path: Path) -> tuple[bytes, ...]:
    """Read a file of one or more public keys (PEM), 32 bytes each. Raises InputUnusable."""
    *blocks, rest = _read(path, "file of public keys").split(_END_OF_KEY)
    if not blocks or rest.strip():
        raise InputUnusable(f"{path}: not one public key in PEM behind the other ('-----BEGIN PUBLIC KEY-----' ...)")
    return tuple(_public_key_of(block + _END_OF_KEY, path) for block in blocks)


def _signed_bytes(message: DroneMessage) -> bytes:
    # msgspec writes the fields in the order of the class, and a float so that it is read back as itself.
    return _PURPOSE + msgspec.json.encode(msgspec.structs.replace(message, signature=None))


def _signed_by(key: bytes, signature: bytes, signed: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, signed)
    except InvalidSignature:
        return False
    return True


def _public_key_of(pem: bytes, path: Path) -> bytes:
    try:
        key = load_pem_public_key(pem.strip())
    except ValueError as error:
        raise InputUnusable(f"{path}: a public key that cannot be read: {error}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise InputUnusable(f"{path}: a public key, but none of Ed25519")
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputUnusable(f"{path}: this {what} cannot be read: {error.strerror}") from error
