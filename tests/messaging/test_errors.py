"""One condition of a broker has one error class and one hint, and the documentation lists them."""

import re
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException
from google.api_core import exceptions
from google.auth.exceptions import DefaultCredentialsError, TransportError

from messaging import kafka, pubsub
from messaging.errors import CONDITIONS, markdown
from messaging.urls import KafkaUrl, PubSubUrl
from schemas.errors import (
    AcknowledgedLost,
    NotPermitted,
    OptionsRefused,
    PrestaCopError,
    ServiceUnavailable,
    TopicUnusable,
)

KAFKA = KafkaUrl("broker:9092", "drones", {})
PUBSUB = PubSubUrl("prestacop", "drones")


def test_the_documentation_has_the_table_of_conditions() -> None:
    assert markdown() in (Path(__file__).resolve().parents[2] / "docs" / "streams.md").read_text()


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (KafkaError.UNKNOWN_TOPIC_OR_PART, TopicUnusable),
        (KafkaError._UNKNOWN_TOPIC, TopicUnusable),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, NotPermitted),
        (KafkaError.SASL_AUTHENTICATION_FAILED, NotPermitted),
        (KafkaError._SSL, NotPermitted),
        (KafkaError._INVALID_ARG, OptionsRefused),
        (KafkaError.MSG_SIZE_TOO_LARGE, TopicUnusable),
        (KafkaError.POLICY_VIOLATION, TopicUnusable),
        (KafkaError.UNKNOWN_PRODUCER_ID, AcknowledgedLost),
        (KafkaError._TRANSPORT, ServiceUnavailable),
        (KafkaError._MSG_TIMED_OUT, ServiceUnavailable),
        (KafkaError.NOT_ENOUGH_REPLICAS, ServiceUnavailable),
    ],
)
def test_an_error_of_kafka_has_one_class_and_only_an_outage_is_retried(code: int, error: type[PrestaCopError]) -> None:
    connection = kafka.Connection(KAFKA)
    found = connection.error(KafkaError(code))
    assert type(found) is error
    assert str(found).startswith("kafka://broker:9092/drones")
    if error is ServiceUnavailable:
        assert "does not answer" in str(connection.reason(KafkaException(KafkaError(code))))
        connection.check(KafkaError(code))
    else:
        with pytest.raises(error):
            connection.check(KafkaError(code))


def test_a_fatal_error_of_kafka_is_not_retried() -> None:
    with pytest.raises(ServiceUnavailable):
        kafka.Connection(KAFKA).check(KafkaError(KafkaError._FENCED, "fenced", True))


def test_a_fatal_error_is_remembered_whatever_is_acknowledged_or_reported_after_it() -> None:
    connection = kafka.Connection(KAFKA)
    connection._on_error(KafkaError(KafkaError.UNKNOWN_PRODUCER_ID, "lost", True))
    connection._on_error(KafkaError(KafkaError._TRANSPORT))
    connection.forget()
    with pytest.raises(AcknowledgedLost):
        connection.check()


def test_an_outage_that_is_over_explains_no_later_one() -> None:
    connection = kafka.Connection(KAFKA)
    connection._on_error(KafkaError(KafkaError._TRANSPORT, "connection refused"))
    assert "connection refused" in connection.outage()
    connection.forget()
    assert "refused" not in connection.outage()


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        (exceptions.NotFound("x"), TopicUnusable),
        (exceptions.PermissionDenied("x"), NotPermitted),
        (exceptions.Unauthenticated("x"), NotPermitted),
        (DefaultCredentialsError("x"), NotPermitted),
        (TransportError("x", retryable=True), ServiceUnavailable),
        (exceptions.InvalidArgument("x"), TopicUnusable),
        (exceptions.ServiceUnavailable("x"), ServiceUnavailable),
        (exceptions.ResourceExhausted("x"), ServiceUnavailable),
        (exceptions.DeadlineExceeded("x"), ServiceUnavailable),
        (exceptions.RetryError("x", exceptions.Aborted("y")), ServiceUnavailable),
    ],
)
def test_an_error_of_pubsub_has_one_class_and_only_an_outage_is_retried(
    raised: Exception, error: type[PrestaCopError]
) -> None:
    connection = pubsub.Connection(PUBSUB, "topics")
    assert type(connection.error(raised)) is error
    reason = connection.reason(raised)
    assert isinstance(reason, str) if error is ServiceUnavailable else isinstance(reason, error)


def test_a_fault_of_the_program_is_not_translated() -> None:
    for connection in (kafka.Connection(KAFKA), pubsub.Connection(PUBSUB, "topics")):
        with pytest.raises(KeyError):
            connection.reason(KeyError("x"))


def test_a_hint_names_the_topic() -> None:
    printed = str(kafka.Connection(KAFKA).error(KafkaError(KafkaError._UNKNOWN_TOPIC)))
    assert "there is no topic drones" in printed
    assert "--bootstrap-server broker:9092 --create --topic drones" in printed
    printed = str(pubsub.Connection(PUBSUB, "subscriptions").error(exceptions.NotFound("x")))
    assert "there is no subscription drones" in printed
    assert "gcloud pubsub subscriptions create drones --project prestacop" in printed


def test_no_two_conditions_are_described_alike() -> None:
    assert len({condition.what for condition in CONDITIONS}) == len(CONDITIONS)
    assert not any(re.search(r"[.]$", condition.kafka + condition.pubsub) for condition in CONDITIONS)
