"""docs/exit-codes.md has the table that the tree of errors gives, and one condition has one exit code and hint."""

import errno
from pathlib import Path

import pytest

from lake.faults import meaning
from prestacop.exit_codes import errors, table
from schemas.os_errors import of_the_system

PAGE = Path(__file__).resolve().parents[2] / "docs" / "exit-codes.md"


def test_the_page_has_the_table_of_the_tree() -> None:
    assert "\n".join(table()) in PAGE.read_text()


def test_each_error_has_its_condition_hint_and_commands() -> None:
    for error in errors():
        assert all(error.__dict__.get(name) for name in ("condition", "hint", "commands")), error


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.ECONNREFUSED, errno.EMFILE])
def test_what_the_system_reports_is_one_error_of_the_tree_in_every_layer(number: int) -> None:
    error = OSError(number, "text")
    assert type(of_the_system(error, "x")) is type(meaning(error, "x"))
    assert str(of_the_system(error, "x")) == str(meaning(error, "x"))
