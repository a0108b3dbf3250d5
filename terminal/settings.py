"""Settings: the values of flags in the environment and in a TOML file, for flags that the command line does not give.

Both are tables by scope: the empty scope is for every command, ``("run",)`` for one, ``("flink", "submit")`` for an
action of one. The environment writes ``PRESTACOP_LAKE``, ``PRESTACOP_RUN__LAKE``, ``PRESTACOP_FLINK__SUBMIT__LAKE``.
The rules: docs/configuration.md.
"""

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

PREFIX: Final = "PRESTACOP_"
FILE: Final = "PRESTACOP_CONFIG"
"""The variable that has the path of the file."""
BEAM: Final = "beam"
"""The last word of the scope of flags that are passed on to Beam."""
OTHERS: Final = frozenset({"PRESTACOP_S3_PATIENCE", "PRESTACOP_PICTURES", "PRESTACOP_SHARED", "PRESTACOP_TRINO"})
"""Variables with the prefix that are no flags; all but the first are of tests."""
_BETWEEN: Final = "__"
_SWITCH: Final = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}

Scope: TypeAlias = tuple[str, ...]


class Setting(NamedTuple):
    """A value and where it was found."""

    value: object
    """Text of the environment, or a value of TOML."""
    origin: str


Tables: TypeAlias = dict[Scope, dict[str, Setting]]


def of_environment(variables: Mapping[str, str]) -> Tables:
    """The settings in the environment; an empty variable counts as missing.

    >>> of_environment({"PRESTACOP_RUN_LOCAL__MAX_DEAD_LETTERS": "1%"})[("run-local",)]["max-dead-letters"].value
    '1%'
    """
    tables: Tables = {}
    for name, text in variables.items():
        if name.startswith(PREFIX) and text and name not in OTHERS | {FILE}:
            *words, key = name.removeprefix(PREFIX).lower().split(_BETWEEN)
            scope = tuple(word.replace("_", "-") for word in words)
            key = key if scope[-1:] == (BEAM,) else key.replace("_", "-")
            tables.setdefault(scope, {})[key] = Setting(text, f"environment variable {name}")
    return tables


def of_file(path: str) -> Tables:
    """The settings in a TOML file. Raises OSError, and ValueError where it is not TOML."""
    import tomllib  # noqa: PLC0415  # a command without a file does without

    tables: Tables = {}

    def add(scope: Scope, table: dict[str, Any]) -> None:
        where = f"file {path}, [{'.'.join(scope)}]" if scope else f"file {path},"
        for key, value in table.items():
            if isinstance(value, dict):
                add((*scope, key), value)
            else:
                tables.setdefault(scope, {})[key] = Setting(value, f"{where} {key}")

    with open(path, "rb") as file:
        add((), tomllib.load(file))
    return tables


def layers(tables: Tables, command: Scope, *below: str) -> Iterator[dict[str, Setting]]:
    """The tables that are for a command, the most specific first."""
    for length in range(len(command), -1, -1):
        yield tables.get((*command[:length], *below), {})


def unknown(tables: Tables, known: Mapping[Scope, Collection[str]]) -> Iterator[str]:
    """What is wrong with each key that no command has.

    Args:
        known: the names of the flags of each command.
    """
    for scope, table in tables.items():
        command = scope[:-1] if scope[-1:] == (BEAM,) else scope
        flags = {name for words, names in known.items() if words[: len(command)] == command for name in names}
        if not flags:
            name = " ".join(command)
            near = did_you_mean(name, {" ".join(words[: len(command)]) for words in known})
            yield f"{next(iter(table.values())).origin}: prestacop has no command {name!r}{near}"
        elif command == scope:
            whose = " ".join(("prestacop", *command)) if command else "no command of prestacop"
            for key in table.keys() - flags:
                has = "has no" if command else "has a"
                yield f"{table[key].origin}: {whose} {has} flag --{key}{did_you_mean(key, flags, '--')}"


def did_you_mean(name: str, names: Iterable[str], dashes: str = "") -> str:
    """A hint at the nearest of the names, if one is near."""
    near = difflib.get_close_matches(name, sorted(names))
    transposed = [other for other in near if sorted(other) == sorted(name)]
    return f"; did you mean {dashes}{(transposed or near)[0]}?" if near else ""


def words(flag: str, value: object, takes_value: bool, takes_many: bool) -> list[str]:
    """The words of a command line that give the flag this value. Raises ValueError where it is of the wrong kind."""
    if not takes_value:
        switch = _SWITCH.get(value.lower()) if isinstance(value, str) else value
        if not isinstance(switch, bool):
            raise ValueError(f"argument {flag}: {value!r} is neither true nor false")
        return [flag] if switch else []
    if takes_many and isinstance(value, str):
        value = value.split()
    return [f"{flag}={_text(flag, one)}" for one in (value if takes_many and isinstance(value, list) else [value])]


def kind_for_beam(value: object) -> tuple[bool, bool]:
    """Whether a flag takes a value, and many, of which only Beam knows it."""
    is_switch = isinstance(value, bool) or (isinstance(value, str) and value.lower() in ("true", "false"))
    return not is_switch, isinstance(value, list)


def _text(flag: str, value: object) -> str:
    if isinstance(value, bool | list | dict):
        raise ValueError(f"argument {flag}: {value!r} is not a single text or number")
    return str(value.isoformat() if hasattr(value, "isoformat") else value)  # TOML has dates


def without_settings(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment of a command that another command starts, and gives all its flags."""
    return {name: text for name, text in variables.items() if not name.startswith(PREFIX) or name in OTHERS}
