"""Each package is pinned with the hashes of its files, and all files name the same versions of Python."""

import ast
import re
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from runners.doctor import PYTHONS

ROOT = Path(__file__).parents[1]
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def _pins(file: str) -> dict[str, tuple[Requirement, list[str]]]:
    """Package name -> its pinned requirement and the hashes of its files, without what no machine of ours installs."""
    text = (ROOT / file).read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line.partition("--hash=") for line in text.splitlines() if line.strip() and not line.startswith("#")]
    pins = [(Requirement(pin), (equals + hashes).split()) for pin, equals, hashes in lines]
    return {
        canonicalize_name(pinned.name): (pinned, hashes)
        for pinned, hashes in pins
        if pinned.marker is None or pinned.marker.evaluate()
    }


def _setup_keywords() -> dict[str, Any]:
    """The literal arguments of the call of setup() in setup.py."""
    (call,) = [
        node
        for node in ast.walk(ast.parse((ROOT / "setup.py").read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "setup"
    ]
    names = ("python_requires", "classifiers", "install_requires", "extras_require")
    return {each.arg: ast.literal_eval(each.value) for each in call.keywords if each.arg in names}


def _requirements() -> dict[str, list[str]]:
    """The packages that setup.py requires, by extra; those of the project itself under an empty name."""
    keywords = _setup_keywords()
    return {"": keywords["install_requires"], **keywords["extras_require"], "build tools": ["setuptools", "wheel"]}


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


@pytest.mark.parametrize("extra", _requirements())
def test_each_package_that_setup_py_requires_is_pinned(extra: str) -> None:
    required = {canonicalize_name(Requirement(each).name) for each in _requirements()[extra]}
    assert required <= _pins("constraints.txt").keys()


def test_each_package_that_a_pinned_one_needs_is_pinned_in_a_version_that_it_takes() -> None:
    pins = _pins("constraints.txt")
    pending = [Requirement(each) for several in _requirements().values() for each in several]
    seen = set()
    while pending:
        one = pending.pop()
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
            pending += [need for need in found if need.marker is None or need.marker.evaluate({"extra": extra})]
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
    assert "--universal" in recipe
    assert 'cp "$$tools/constraints.txt" constraints.txt' in recipe
    assert "make pins" in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()[1]


def test_the_doctor_the_makefile_and_the_docs_name_the_pythons_that_setup_py_supports() -> None:
    supported = SpecifierSet(_setup_keywords()["python_requires"])
    assert tuple(f"3.{minor}" for minor in range(30) if f"3.{minor}" in supported) == PYTHONS
    assert [each.rpartition(" ")[2] for each in _setup_keywords()["classifiers"]] == list(PYTHONS)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (candidates,) = re.findall(r"^PYTHONS := (.*)", makefile, re.MULTILINE)
    assert sorted(candidates.split()) == [f"python{version}" for version in PYTHONS]
    first, last = (version.replace(".", ", ") for version in (PYTHONS[0], f"3.{int(PYTHONS[-1][2:]) + 1}"))
    assert f"({first}) <= sys.version_info < ({last})" in makefile
    spoken = f"Python {PYTHONS[0]} to {PYTHONS[-1]}"
    for file in ("Makefile", "README.md", "deploy/Dockerfile"):
        assert spoken in (ROOT / file).read_text(encoding="utf-8"), file


def test_the_images_have_every_package_and_the_python_that_make_prefers() -> None:
    dockerfile = (ROOT / "deploy/Dockerfile").read_text(encoding="utf-8")
    preferred = re.findall(r"^PYTHONS := python(\S+)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert re.findall(r"^ARG PYTHON=(.*)", dockerfile, re.MULTILINE) == preferred
    packages = {file.parent.name for file in ROOT.glob("*/__init__.py")} - {"tests"}
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert not packages & {*ignored}
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    assert {name for name in packages if f'"{name}"' in setup} == packages
