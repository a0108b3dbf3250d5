"""The Dockerfile: linted, pinned, and nothing in it runs as root."""

import re
import subprocess
from itertools import pairwise

import pytest

from tests.deploy.programs import HADOLINT
from tests.deploy.support import DEPLOY, installed

TEXT = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
STAGES = re.findall(r"^FROM (\S+) AS (\S+)$", TEXT, re.MULTILINE)


@pytest.mark.services
def test_hadolint_finds_no_fault() -> None:
    line = [installed(HADOLINT), "--no-color", "--failure-threshold=style", str(DEPLOY / "Dockerfile")]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_every_image_is_that_of_another_user_than_root() -> None:
    """Whatever was root for a step is not any more at the end of its stage."""
    ends = [*(found.start() for found in re.finditer(r"^FROM ", TEXT, re.MULTILINE)), len(TEXT)]
    users: dict[str, str] = {}
    for (base, name), (start, end) in zip(STAGES, pairwise(ends), strict=True):
        given = re.findall(r"^USER (\S+)$", TEXT[start:end], re.MULTILINE)
        users[name] = given[-1] if given else users.get(base, "0")
    images = [name for name in users if name.startswith("prestacop")]
    assert len(images) == 5
    assert {users[name] for name in images} == {"10001:10001"}


def test_each_base_image_has_a_version() -> None:
    bases = dict(re.findall(r"^ARG (\w+)=(\S+)$", TEXT, re.MULTILINE))
    assert {base for base, name in STAGES} - {name for _, name in STAGES} == {"${BASE}", "${GO}", "${BEAM}"}
    for name in ("BASE", "GO", "BEAM"):
        assert re.search(r":(\d+\.\d+\.\d+|\$\{PYTHON\}-slim-)", bases[name]), name


def test_each_image_that_is_used_is_a_target() -> None:
    files = (DEPLOY / "compose.yaml", *DEPLOY.glob("helm/prestacop/templates/*.yaml"))
    texts = "".join(file.read_text(encoding="utf-8") for file in files)
    used = {*re.findall(r'"image" "(prestacop[\w-]*)"', texts), *re.findall(r"target: (prestacop[\w-]*) }", texts)}
    assert used == {name for _, name in STAGES if name.startswith("prestacop")} - {"prestacop-worker"}
