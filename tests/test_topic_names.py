"""Tests with services share one broker, so each names its topics for itself."""

import re
from collections import Counter
from pathlib import Path

MADE = re.compile(r'\bmake_topic(?:_of_kafka)?\(kafka, "([^"]+)"')


def test_no_two_files_of_tests_name_a_topic_of_kafka_alike() -> None:
    texts = [path.read_text() for path in Path(__file__).with_name("services").glob("test_*.py")]
    names = Counter(name for text in texts for name in set(MADE.findall(text)))
    assert len(names) > 20
    assert [name for name, times in names.items() if times > 1] == []
