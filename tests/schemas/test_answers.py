"""Signatures of officers' answers, and the files of the keys."""

import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from schemas.alerts import Alert, decode, encode
from schemas.answers import (
    answer_id,
    answer_to,
    load_key,
    load_public_keys,
    new_key,
    public_key,
    save_key,
    save_public_key,
    sign,
    verify,
)
from schemas.errors import InputUnusable
from schemas.messages import DroneMessage

KEY = new_key()
KEYS = (public_key(new_key()), public_key(KEY))
IDS = st.text(min_size=1, max_size=20)


def alert(**fields: Any) -> Alert:
    return msgspec.convert(
        {
            "schema_version": 1, "message_id": "m1", "drone_id": "d1", "sequence": 7, "latitude": 40.7,
            "event_time": "2026-01-15T12:00:00.000000Z", "longitude": -74.0, "altitude_m": 30.0, "battery_pct": 80.0,
            "kind": "violation", "status": "raw", "violation_code": 0, "plate_id": "ABC123", "image_id": "i1",
            "alert_time": "2026-01-15T12:00:02.000000Z", **fields,
        },
        Alert,
    )  # fmt: skip


def answer(code: int = 21, lease: str = "lease-1") -> DroneMessage:
    at = "2026-01-15T12:00:20.000000Z"
    return answer_to(alert(), lease=lease, officer_id="kelly", violation_code=code, event_time=at)


CHANGES: dict[str, st.SearchStrategy[Any]] = {
    "schema_version": st.just(2),
    "kind": st.just("position"),
    "status": st.just("raw"),
    "event_time": st.text(max_size=30),
    "signature": st.none() | st.text(max_size=100),
    **dict.fromkeys(["message_id", "drone_id"], IDS),
    **dict.fromkeys(["plate_id", "image_id", "answers", "officer_id"], st.none() | IDS),
    **dict.fromkeys(["sequence", "violation_code"], st.integers(0, 99)),
    **dict.fromkeys(["latitude", "longitude", "altitude_m", "battery_pct"], st.floats(-90, 90)),
}
"""What each field of an answer may be changed to."""


@given(st.integers(0, 99), IDS)
def test_a_signed_answer_verifies_after_the_wire(code: int, lease: str) -> None:
    wire = msgspec.json.encode(sign(answer(code, lease), KEY))
    assert verify(msgspec.json.decode(wire, type=DroneMessage), KEYS)


@given(st.data(), st.sampled_from(DroneMessage.__struct_fields__))
def test_an_answer_with_another_field_does_not_verify(data: st.DataObject, field: str) -> None:
    signed = sign(answer(), KEY)
    value = data.draw(CHANGES[field])
    same = bool(getattr(signed, field) == value)
    assert verify(msgspec.structs.replace(signed, **{field: value}), KEYS) is same


@given(st.integers(0, 87), st.sampled_from("!=AB \n"))
def test_a_signature_has_one_spelling(place: int, inserted: str) -> None:
    signed = sign(answer(), KEY)
    assert signed.signature is not None
    spelled = signed.signature[:place] + inserted + signed.signature[place:]
    assert not verify(msgspec.structs.replace(signed, signature=spelled), KEYS)


def test_what_is_signed_is_what_will_be_read() -> None:
    whole = msgspec.structs.replace(answer(), latitude=40)
    wire = msgspec.json.encode(sign(whole, KEY))
    assert verify(msgspec.json.decode(wire, type=DroneMessage), KEYS)
    with pytest.raises(msgspec.ValidationError, match="violation_code"):
        sign(answer(100), KEY)


def test_an_answer_of_another_key_does_not_verify() -> None:
    assert not verify(sign(answer(), new_key()), KEYS)
    assert not verify(sign(answer(), KEY), ())
    assert not verify(answer(), KEYS)


@given(IDS, IDS, IDS, IDS)
def test_an_answer_is_known_by_alert_and_lease(answers: str, lease: str, other_answers: str, other_lease: str) -> None:
    same = (answers, lease) == (other_answers, other_lease)
    assert (answer_id(answers, lease) == answer_id(other_answers, other_lease)) is same
    assert len(answer_id(answers, lease)) == 32


def test_an_answer_repeats_what_the_drone_saw() -> None:
    found = answer()
    assert (found.answers, found.officer_id, found.status, found.violation_code) == ("m1", "kelly", "officer", 21)
    assert (found.plate_id, found.image_id, found.latitude) == ("ABC123", "i1", 40.7)
    old = answer_to(alert(sequence=None, battery_pct=None), lease="l", officer_id="o", violation_code=0, event_time="t")
    assert (old.sequence, old.battery_pct) == (0, 0.0)


def test_an_alert_survives_the_wire_and_takes_new_fields() -> None:
    assert decode(encode(alert())) == alert()
    assert decode(encode(alert())[:-1] + b',"new":1}') == alert()
    with pytest.raises(msgspec.ValidationError):
        decode(encode(alert()).replace(b'"violation_code":0', b'"violation_code":21'))


def test_a_private_key_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "console.key"
    save_key(KEY, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert public_key(load_key(path)) == public_key(KEY)
    with pytest.raises(FileExistsError):
        save_key(new_key(), path)
    path.chmod(0o644)
    with pytest.raises(InputUnusable, match="chmod 600"):
        load_key(path)


def test_public_keys_are_concatenated(tmp_path: Path) -> None:
    one, two, both = (tmp_path / name for name in ("one.pub", "two.pub", "both.pub"))
    other = new_key()
    save_public_key(KEY, one)
    save_public_key(other, two)
    both.write_bytes(one.read_bytes() + two.read_bytes())
    assert load_public_keys(both) == (public_key(KEY), public_key(other))


@pytest.mark.parametrize(
    "pem", [b"", b"no key", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"], ids=len
)
def test_a_file_without_public_keys_is_reported(tmp_path: Path, pem: bytes) -> None:
    (tmp_path / "keys").write_bytes(pem)
    with pytest.raises(InputUnusable, match="public key"):
        load_public_keys(tmp_path / "keys")


def test_other_keys_are_reported(tmp_path: Path) -> None:
    other = generate_private_key(SECP256R1()).public_key()
    (tmp_path / "keys").write_bytes(other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(InputUnusable, match="Ed25519"):
        load_public_keys(tmp_path / "keys")
    with pytest.raises(InputUnusable, match="cannot be read"):
        load_key(tmp_path / "missing")
    (tmp_path / "key").write_bytes(b"no key")
    (tmp_path / "key").chmod(0o600)
    with pytest.raises(InputUnusable, match="no private key"):
        load_key(tmp_path / "key")
