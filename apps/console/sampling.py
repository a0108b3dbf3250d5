"""Random samples of alerts that depend on their ids alone: a restart and another console choose the same ones."""

from hashlib import blake2b


def is_in_sample(purpose: str, message_id: str, share: float) -> bool:
    """Whether an alert is in the sample of that share; samples for different purposes are independent.

    >>> sum(is_in_sample("test", str(number), 0.02) for number in range(10_000))
    191
    """
    digest = blake2b(f"{purpose} {message_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) < share * 2**64
