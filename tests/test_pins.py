"""Each package that is installed is pinned, with the hash of its file, and no command installs one that is not."""

import ast
import re
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def _pins(file: str) -> dict[str, tuple[Requirement, list[str]]]:
    """Name -> what is pinned, and its hashes."""
    text = (ROOT / file).read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return {canonicalize_name(Requirement(pin).name): (Requirement(pin), hashes) for pin, *hashes in lines}


def _setup() -> dict[str, list[str]]:
    """What setup.py asks for: packages by extra; of the project itself by an empty one."""
    (call,) = [
        node
        for node in ast.walk(ast.parse((ROOT / "setup.py").read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "setup"
    ]
    said = {each.arg: each.value for each in call.keywords}
    return {
        "": ast.literal_eval(said["install_requires"]),
        **ast.literal_eval(said["extras_require"]),
        "the tools that build it": ["setuptools", "wheel"],
    }


@pytest.mark.parametrize("file", ["constraints.txt", "deploy/pins.txt"])
def test_each_pin_is_one_version_and_has_its_hashes(file: str) -> None:
    pins = _pins(file)
    assert pins
    for pinned, hashes in pins.values():
        (one,) = pinned.specifier
        assert (one.operator, str(Version(one.version))) == ("==", one.version)
        assert pinned.url is None
        assert hashes
        assert all(HASH.fullmatch(each) for each in hashes), pinned.name


@pytest.mark.parametrize("extra", _setup())
def test_each_package_that_setup_py_asks_for_is_pinned(extra: str) -> None:
    assert {canonicalize_name(Requirement(each).name) for each in _setup()[extra]} <= _pins("constraints.txt").keys()


def test_each_package_that_a_pinned_one_needs_is_pinned_in_a_version_that_it_takes() -> None:
    pins = _pins("constraints.txt")
    wanted = [Requirement(each) for several in _setup().values() for each in several]
    seen = set()
    while wanted:
        one = wanted.pop()
        name = canonicalize_name(one.name)
        assert name in pins, f"{name} is not pinned: make pins"
        assert one.specifier.contains(str(pins[name][0].specifier).removeprefix("=="), prereleases=True), str(one)
        for extra in ("", *one.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            try:
                needs = requires(one.name) or []
            except PackageNotFoundError:  # wheel is in the environment that builds
                continue
            found = map(Requirement, needs)
            wanted += [need for need in found if need.marker is None or need.marker.evaluate({"extra": extra})]
    assert {name for name, _ in seen} == pins.keys()


@pytest.mark.parametrize("file", ["Makefile", "deploy/Dockerfile", ".ci/run"])
def test_no_command_installs_what_has_no_hash(file: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8").replace("\\\n", " ")
    calls = [
        part
        for line in text.splitlines()
        for part in re.split(r"&&|\|\||;", line)
        if re.search(r"\$\(PIP\)|\bpip\"? install", part) and not line.startswith("PIP :=")
    ]
    assert calls or file == ".ci/run"
    for call in calls:
        ours = "--no-deps" in call and "--no-build-isolation" in call
        assert ours or re.search(r"--require-hashes --requirement (constraints|deploy/pins)\.txt\b", call), call
        assert "--index-url" not in call


def test_make_pins_writes_the_file_that_is_installed() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipe = text.partition("\npins:")[2].partition("\n\n")[0]
    assert "--generate-hashes" in recipe
    assert "--output-file constraints.txt" in recipe
    assert "make pins" in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()[1]
