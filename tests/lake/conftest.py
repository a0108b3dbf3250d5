"""Fixtures of the tests of the lake."""

from pathlib import Path

import pytest

from lake.storage import LocalStorage, S3Storage, Storage


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.embedded)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """A storage of either kind."""
    if request.param == "local":
        return LocalStorage(str(tmp_path / "lake"))
    return S3Storage(request.getfixturevalue("s3") + "/lake")
