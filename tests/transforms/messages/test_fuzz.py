"""A small part of ``python -m tests.recovery.fuzz``: whatever comes to an edge, the edge does not raise."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.recovery.fuzz import Edge, attempt, edges, fuzz

NAMES = (
    *("pieces", "confirmations", "messages", "answers", "alerts", "pictures", "panes", "commands", "history"),
    "times of brokers",
)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Edge]]:
    folder: Path = tmp_path_factory.mktemp("fuzz")
    with edges(folder, 0, with_trace=False) as some:
        yield {edge.name: edge for edge in some}


@pytest.mark.parametrize("name", NAMES)
def test_no_payload_makes_an_edge_raise(found: dict[str, Edge], name: str) -> None:
    outcome = fuzz(found[name], 400, 14)
    assert outcome.raised == ()
    assert 0 < outcome.accepted <= outcome.tries


def test_every_edge_is_tried(found: dict[str, Edge]) -> None:
    assert tuple(found) == NAMES


def test_the_payload_at_which_an_edge_raises_is_found() -> None:
    def take(payloads: list[bytes]) -> int:
        return len(payloads) - [len(payload) for payload in payloads].count(1 // (b"poison" not in payloads))

    outcome = attempt(Edge("poisoned", [], take), [b"fine"] * 70 + [b"poison"] + [b"fine"] * 30)
    assert outcome.tries == 101
    assert outcome.accepted == 100
    assert [payload for payload, _ in outcome.raised] == [b"poison"]
