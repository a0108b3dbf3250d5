"""Small brokers for tests, and what was published to them."""

import time
from concurrent import futures
from threading import Lock

import grpc
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition
from google.pubsub_v1 import GetTopicRequest, PublishRequest, PublishResponse, Topic


def consumed(bootstrap: str, topic: str) -> list[Message]:
    """All messages of a Kafka topic, those of a partition in their order."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "tests", "enable.partition.eof": True})
    try:
        partitions = list(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
        consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
        found: list[Message] = []
        ended = 0
        deadline = time.monotonic() + 60
        while ended < len(partitions):
            assert time.monotonic() < deadline
            for message in consumer.consume(1000, timeout=1):
                error = message.error()
                if error is None:
                    found.append(message)
                else:
                    assert error.code() == KafkaError._PARTITION_EOF, error
                    ended += 1
        return found
    finally:
        consumer.close()


class MockKafka:
    """The broker that librdkafka has inside; it lives as long as its client."""

    def __init__(self) -> None:
        self._client: Producer | None = Producer({"test.mock.num.brokers": 1, "log_level": 2})
        broker = self._client.list_topics(timeout=10).brokers[1]
        self.address = f"{broker.host}:{broker.port}"

    def url(self, topic: str, options: str = "") -> str:
        """The URL of a topic."""
        return f"kafka://{self.address}/{topic}?{options}"

    def stop(self) -> None:
        """End it, as if it were killed."""
        self._client = None


class PubSubDouble:
    """A server that speaks the two methods of Pub/Sub that a publisher needs, and fails when it is told to."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.requests: list[PublishRequest] = []
        self.look_fails: list[grpc.StatusCode] = []
        """How to answer the next questions whether there is a topic."""
        self.publish_fails: list[grpc.StatusCode] = []
        """How to answer the next requests to publish."""
        self._server = grpc.server(
            futures.ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", 20 * 1024 * 1024)]
        )
        handlers = {
            "GetTopic": grpc.unary_unary_rpc_method_handler(
                self._get_topic, GetTopicRequest.deserialize, Topic.serialize
            ),
            "Publish": grpc.unary_unary_rpc_method_handler(
                self._publish, PublishRequest.deserialize, PublishResponse.serialize
            ),
        }
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("google.pubsub.v1.Publisher", handlers),)
        )
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def published(self, topic: str) -> list[tuple[bytes, str]]:
        """Payloads and keys, request by request."""
        return [
            (message.data, message.attributes["key"])
            for request in self.requests
            for message in request.messages
            if request.topic == topic
        ]

    def _get_topic(self, request: GetTopicRequest, context: grpc.ServicerContext) -> Topic:
        self._fail(self.look_fails, context)
        return Topic(name=request.topic)

    def _publish(self, request: PublishRequest, context: grpc.ServicerContext) -> PublishResponse:
        self._fail(self.publish_fails, context)
        with self.lock:
            self.requests.append(request)
        return PublishResponse(message_ids=["id"] * len(request.messages))

    def _fail(self, codes: list[grpc.StatusCode], context: grpc.ServicerContext) -> None:
        with self.lock:
            code = codes.pop(0) if codes else None
        if code is not None:
            context.abort(code, "told to fail")

    def __enter__(self) -> "PubSubDouble":
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(None).wait()
