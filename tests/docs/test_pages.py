"""What the pages name exists: files, links, modules, make targets, sub-commands and their flags."""

import argparse
import contextlib
import io
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.cli.beam_flags import by_runner
from prestacop.commands import SUBCOMMANDS
from prestacop.parsers import parser_of

ROOT = Path(__file__).parents[2]
DECISIONS = ROOT / "docs" / "decisions"
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), DECISIONS / "README.md"]
SUBCOMMANDS_OF = {
    "simulate": ("history", "drones"),
    "services": ("install", "up", "down", "status"),
    "flink": ("install", "up", "status", "submit", "stop", "down"),
    "spark": ("install", "up", "status", "submit", "down"),
}
OTHER_PROGRAMS = {"--require-hashes", "--add-opens", "--spark-master-url", "--job-port", "--hypothesis-profile",
                  "--bootstrap-server", "--add", "--topic", "--operation", "--allow-principal",
                  "--packages", "--conf", "--build", "--detach", "--volumes", "--from-literal", "--values",
                  "--requirement", "--no-deps", "--no-build-isolation", "--now"}  # fmt: skip
"""Flags of pip, java, pytest, kafka-acls, spark-sql, docker, kubectl, helm and systemctl."""

page = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


def code(text: str) -> Iterator[str]:
    """The fenced and inline code of a page, and its indented blocks."""
    fenced = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
    yield from fenced.findall(text)
    rest = fenced.sub("", text)
    yield from re.findall(r"`([^`\n]+)`", rest)
    yield from re.findall(r"^    \S.*$", rest, re.MULTILINE)


def commands(text: str) -> Iterator[str]:
    """Lines of code, those that a backslash continues as one, without their comments."""
    for part in code(text):
        yield from (line.split(" #")[0] for line in part.replace("\\\n", " ").splitlines())


@cache
def help_of(*words: str) -> str:
    """What ``prestacop WORDS --help`` prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        parser_of(words[0]).parse_args([*words[1:], "--help"])
    return printed.getvalue()


@cache
def flags_of_beam() -> frozenset[str]:
    """The options of Beam and its runners, which ``prestacop run`` passes on."""
    parser = argparse.ArgumentParser(conflict_handler="resolve")
    for options in PipelineOptions.__subclasses__():
        if options.__module__.startswith("apache_beam."):
            options._add_argparse_args(parser)
    return frozenset(flag for action in parser._actions for flag in action.option_strings) | flags(by_runner())


def flags(text: str) -> set[str]:
    """The long flags in it."""
    return set(re.findall(r"(?<![\w-])--[a-z][\w-]*", text))


def anchors(text: str) -> set[str]:
    """The anchors of a page: ids, and headings as GitHub names them."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return slugs | set(re.findall(r'<a id="([^"]+)"', text))


@page
def test_links_lead_to_files_and_anchors_that_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = [*re.findall(r"\]\(([^)\s]+)\)", text), *re.findall(r'src="([^"]+)"', text)]
    for target in targets:
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        to = page.parent / name if name else page
        assert to.exists(), target
        assert not anchor or anchor in anchors(to.read_text(encoding="utf-8")), target


@page
def test_files_folders_and_modules_exist(page: Path) -> None:
    tops = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
    for line in commands(page.read_text(encoding="utf-8")):
        for path in re.findall(r"(?<![\w./:-])(?:\.\./)?([\w-]+(?:/[\w.-]+)+/?)", line):
            top, *rest = path.split("/")
            if top in tops - {"data", "lake"} or re.match(r"lake/\w+\.py$", path):
                assert (ROOT / path).exists(), f"{path} in {line!r}; {rest}"
        for module in re.findall(r"python -m ([\w.]+)", line):
            if module.split(".")[0] in tops:
                file = ROOT / Path(*module.split("."))
                assert file.with_suffix(".py").exists() or (file / "__main__.py").exists(), module


@page
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for line in commands(page.read_text(encoding="utf-8")):
        for words in re.findall(r"(?:^|&& )\s*make ([a-z][\w-]*)", line):
            assert words in targets, line


@page
def test_subcommands_and_their_flags_exist(page: Path) -> None:
    for line in commands(page.read_text(encoding="utf-8")):
        for call in re.split(r"(?<![\w/.-])prestacop (?=[a-z])", line)[1:]:
            name, *words = call.split()
            assert name in SUBCOMMANDS, line
            inner = [word for word in words[:1] if word in SUBCOMMANDS_OF.get(name, ())]
            missing = flags(call) - flags(help_of(name, *inner)) - {"--help"}
            if name in ("run", "flink", "spark"):
                missing -= flags_of_beam() | flags(help_of("run")) | flags(by_runner())
            assert not missing, line


@page
def test_flags_are_those_of_some_command(page: Path) -> None:
    helps = [
        help_of(name, *inner) for name in SUBCOMMANDS for inner in ((), *((i,) for i in SUBCOMMANDS_OF.get(name, ())))
    ]
    known = set().union(*map(flags, helps)) | flags_of_beam() | OTHER_PROGRAMS
    own = [*(ROOT / "tests" / "recovery").glob("*.py"), *(ROOT / "tests" / "benchmarks").glob("*.py"),
           ROOT / "pipelines" / "cli" / "runner_options.py"]  # fmt: skip
    literals = "".join(path.read_text(encoding="utf-8") for path in own)
    for line in commands(page.read_text(encoding="utf-8")):
        assert not {flag for flag in flags(line) - known if f'"{flag}"' not in literals}, line


def test_the_index_of_decisions_names_every_file_and_its_number() -> None:
    index = (DECISIONS / "README.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| \[(\d{3})\]\((\d{3}-[\w-]+\.md)\) \| .+ \| \d{4}-\d\d-\d\d \| \S.* \|$", index, re.MULTILINE
    )
    assert [file for _, file in rows] == sorted(path.name for path in DECISIONS.glob("[0-9]*.md"))
    assert all(file.startswith(number) for number, file in rows)


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 600


def test_the_architecture_names_every_folder() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rooms = [
        path for top in ("sources", "transforms", "pipelines", "runners", "apps") for path in ROOT.glob(f"{top}/*/")
    ]
    packages = [path for path in [*ROOT.glob("[a-z]*/"), *rooms] if any(path.glob("*.py"))]
    missing = {f"{package.relative_to(ROOT)}/" for package in packages} - set(re.findall(r"`([\w/]+/)`", text))
    assert missing == set()
