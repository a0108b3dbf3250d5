"""Between steps of the local runner no element is cut or lost."""

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.runners.worker.data_plane import (
    BeamFnDataServicer,
    ClosableOutputStream,
    TimeBasedBufferingClosableOutputStream,
)

from pipelines.cli.data_buffers import NO_TIME_LIMIT, send_whole_elements
from tests.support import LOCAL, wait_until


def test_with_a_time_limit_beam_sends_half_an_element() -> None:
    """If this fails Beam was mended, and pipelines/cli/data_buffers.py can go."""
    sent: list[bytes] = []
    stream = ClosableOutputStream.create(sent.append, sent.append, 1)
    stream.write(b"the first half, ")
    wait_until(lambda: any(sent))
    first = b"".join(sent)
    stream.write(b"the second half")
    stream.close()
    assert first == b"the first half, "


def test_a_pipeline_has_no_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    original = ClosableOutputStream.create

    def create(close: object, flush: object, limit: int) -> ClosableOutputStream:
        made.append(limit)
        return original(close, flush, limit)

    monkeypatch.setattr(worker_handlers, "DATA_BUFFER_TIME_LIMIT_MS", 1000)
    send_whole_elements()
    monkeypatch.setattr(ClosableOutputStream, "create", staticmethod(create))
    with beam.Pipeline(options=LOCAL) as pipeline:
        _ = pipeline | beam.Create([("a", 1)]) | beam.GroupByKey()
    assert set(made) == {NO_TIME_LIMIT}
    stream = (
        BeamFnDataServicer(worker_handlers.DATA_BUFFER_TIME_LIMIT_MS).get_conn_by_worker_id("w").output_stream("1", "t")
    )
    assert not isinstance(stream, TimeBasedBufferingClosableOutputStream)
