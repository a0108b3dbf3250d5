"""Verification of officers' answers: one by one, as 1 in 1,000 messages is one."""

from collections.abc import Sequence
from typing import Final

import msgspec

from schemas.answers import verify
from schemas.messages import DroneMessage, Reason
from transforms.messages.payload import Refusal

_decode: Final = msgspec.json.Decoder(DroneMessage).decode


def refuse_answer(payload: bytes, officer_keys: Sequence[bytes]) -> Refusal | None:
    """Why a message with the status ``officer`` is not a valid answer; None where it is.

    Args:
        payload: the message as received: the signature covers its texts, not the decoded columns.
        officer_keys: the public keys, 32 bytes each.
    """
    if not officer_keys:
        return Refusal(Reason.ANSWER_UNSIGNED, "this run knows no officer's key (--officer-keys)")
    try:
        message = _decode(payload)
    except msgspec.MsgspecError as error:
        return Refusal(Reason.ANSWER_UNSIGNED, f"a signature covers the fields of a v1 message alone: {error}"[:200])
    if message.signature is None:
        return Refusal(Reason.ANSWER_UNSIGNED, "no signature")
    if not verify(message, officer_keys):
        return Refusal(Reason.ANSWER_UNSIGNED, "the signature is not of this message and a known key")
    if message.kind != "violation":
        return Refusal(Reason.FIELD_INVALID, "an answer is of the kind violation")
    for name in ("violation_code", "answers", "officer_id"):
        if getattr(message, name) is None:
            return Refusal(Reason.FIELD_MISSING, name)
    return None
