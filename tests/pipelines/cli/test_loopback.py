"""No command opens a port to more than this machine."""

import argparse
import hashlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import NamedTuple
from zipfile import ZipFile

import grpc
import psutil
import pytest

from lake import lake
from pipelines.cli import java_job_server, job_server, loopback
from pipelines.cli.loopback import reachable
from pipelines.cli.runner import beam_options
from prestacop.commands import SUBCOMMANDS
from prestacop.parsers import parser_of
from runners.services import free_port
from schemas.errors import ServiceUnavailable
from tests.apps.console.process import NOWHERE, console
from tests.sockets import listening, watched
from tests.support import make_history, run_graph

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("apps", "lake", "pipelines", "runners", "schemas", "sources", "transforms")
FLEET = ("--drones", "5", "--seconds", "30")
CODES = "CODE,DEFINITION,Manhattan  96th St. & below,All Other Areas\n46,DOUBLE PARKING,115,115\n"
PROCESSES = ("--direct_running_mode", "multi_processing", "--direct_num_workers", "2")
EVERYWHERE = """
import socket, sys, time
listener = socket.socket(getattr(socket, sys.argv[1]))
listener.bind((sys.argv[2], int(sys.argv[3])))
listener.listen()
time.sleep(60)
"""


class At(NamedTuple):
    """Where a command works."""

    lake: Path
    """One that has more than one file of a month, and dead letters."""
    new: Path
    """Nothing is there yet."""


def graph(at: At, *flags: str) -> list[str]:
    """A run over a new history."""
    history = make_history(at.new.with_suffix(".csv"), 20_000)
    return ["run", "--history", str(history), "--lake", str(at.new), *flags]


def trace(at: At) -> list[str]:
    """Of a ticket that is there."""
    (row,) = lake(str(at.lake)).sql("SELECT summons_number FROM qualified LIMIT 1").to_pylist()
    return ["trace", "--lake", str(at.lake), str(row["summons_number"])]


def fines(at: At) -> list[str]:
    """With a table of one code."""
    at.new.write_text(CODES)
    return ["fines", "--lake", str(at.lake), "--codes", str(at.new)]


def load(at: At) -> list[str]:
    """Into a folder."""
    history = make_history(at.new.with_suffix(".csv"), 2_000)
    where = ["--to", f"file:{at.new}", "--journal", str(at.new.with_suffix(".journal"))]
    return ["load", str(history), "--quiet", *where]


COMMANDS: dict[str, Callable[[At], list[str]]] = {
    "run": graph,
    "run in processes": lambda at: graph(at, *PROCESSES),
    "compact": lambda at: ["compact", "--lake", str(at.lake)],
    "replay": lambda at: [
        "replay",
        "--lake",
        str(at.lake),
        "--reason",
        "code_out_of_range",
    ],
    "analyze": lambda at: [
        "analyze",
        "--lake",
        str(at.lake),
        "--report",
        str(at.new),
    ],
    "reconcile": lambda at: ["reconcile", "--lake", str(at.lake)],
    "fines": fines,
    "fleet": lambda at: ["fleet", "--lake", str(at.lake)],
    "officers": lambda at: ["officers", "--lake", str(at.lake)],
    "undo": lambda at: ["undo", "--lake", str(at.lake), "--list"],
    "forget": lambda at: ["forget", "--lake", str(at.lake), "--list"],
    "trace": trace,
    "load": load,
    "simulate history": lambda at: ["simulate", "history", "--rows", "2000", "--output", str(at.new)],
    "simulate drones": lambda at: ["simulate", "drones", *FLEET, "--output", f"file:{at.new}"],
    "run-local": lambda at: ["run-local", "--data", str(at.new), "--rows", "2000", *FLEET, "--quiet"],
    "doctor": lambda at: ["doctor"],
    "config": lambda at: ["config"],
}
"""Those that need no server and end by themselves."""

BEAM = {"run", "run in processes", "compact", "replay", "analyze"}
"""Those that run a pipeline, whose servers the test must see."""

ELSEWHERE = {
    "clean": "tests/pipelines/cli/test_loopback.py::test_clean_listens_on_loopback_only",
    "console": "tests/pipelines/cli/test_loopback.py::test_the_console_listens_on_loopback_only",
    "exporter": "tests/pipelines/cli/test_loopback.py::test_the_exporter_listens_on_loopback_only",
    **dict.fromkeys(
        ("services up", "services status", "services install", "services down"),
        "tests/services/test_ports.py::test_the_servers_listen_on_loopback_only",
    ),
    "topics": "tests/services/test_ports.py::test_a_command_with_servers_listens_on_loopback_only",
    "live": "tests/services/test_live.py::test_a_live_run_on_kafka_is_exactly_once_and_listens_on_loopback_only",
    **{
        f"{name} {action}": f"tests/services/test_ports.py::test_{name}_listens_on_loopback_only"
        for name, actions in (("flink", ("submit", "stop")), ("spark", ("submit",)))
        for action in ("up", "status", "install", "down", *actions)
    },
}
"""Commands that need servers, and those that go on: the test that watches them."""

PARTS = {
    "pipelines.violations": "run",
    "pipelines.cli.worker_process": "run",
    "runners.processes": "live",
    "runners.live.graph": "live",
    "runners.workers.pool": "flink up",
    "runners.workers.forks": "flink up",
    "runners.services.prism.build": "services install",
    "runners.services.beam_java.build": "flink install",
}
"""What is no command for people: the one that starts it, and is watched together with it."""


def modules() -> set[str]:
    """All that ``python -m`` runs, but the command itself."""
    found = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            if path.name == "__main__.py" or '__name__ == "__main__"' in path.read_text():
                found.add(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__"))
    return found - {"prestacop"}


def actions(command: str) -> list[str]:
    """The words that may follow the name of a command."""
    found = [a.choices for a in parser_of(command)._actions if isinstance(a, argparse._SubParsersAction)]
    return [f" {word}" for word in found[0]] if found else [""]


def test_every_command_is_watched() -> None:
    commands = {f"{name}{action}" for name in SUBCOMMANDS for action in actions(name)}
    assert commands == {name.removesuffix(" in processes") for name in (*COMMANDS, *ELSEWHERE)}
    assert PARTS.keys() == modules()
    assert set(PARTS.values()) <= commands
    for test in ELSEWHERE.values():
        path, _, name = test.partition("::")
        assert f"\ndef {name}(" in (ROOT / path).read_text(), test


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of two runs, to be copied."""
    folder = tmp_path_factory.mktemp("two-runs")
    for n in range(2):
        run_graph(folder / "lake", make_history(folder / f"{n}.csv", 2_000, "--seed", str(n)))
    return folder / "lake"


@pytest.mark.embedded
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_listens_on_loopback_only(name: str, two_runs: Path, tmp_path: Path) -> None:
    at = At(Path(shutil.copytree(two_runs, tmp_path / "lake")), tmp_path / "new")
    command = COMMANDS[name](at)
    ran = watched([sys.executable, "-m", "prestacop", *command], tmp_path / "log")
    assert ran.code == 0, ran.printed
    assert ran.listened or name not in BEAM, "Beam's servers were not seen: the test looks too seldom"
    assert ran.reachable == set()


@pytest.mark.embedded
def test_clean_listens_on_loopback_only(tmp_path: Path) -> None:
    for package in ("prestacop", "schemas", "terminal"):
        shutil.copytree(ROOT / package, tmp_path / "tree" / package)
    (tmp_path / "tree" / "runners").mkdir()
    for name in ("__init__.py", "clean.py"):  # it clears away the tree that it is in
        shutil.copyfile(ROOT / "runners" / name, tmp_path / "tree" / "runners" / name)
    line = [sys.executable, "-P", "-m", "prestacop", "clean"]
    ran = watched(line, tmp_path / "log", environment={"PYTHONPATH": str(tmp_path / "tree")})
    assert ran.code == 0, ran.printed
    assert ran.reachable == set()


@pytest.mark.embedded
def test_the_console_listens_on_loopback_only(tmp_path: Path) -> None:
    before = {child.pid for child in psutil.Process().children()}
    with console(tmp_path / "console", NOWHERE, NOWHERE):
        (process,) = (child for child in psutil.Process().children() if child.pid not in before)
        assert listening(process.pid)
        assert reachable(process.pid) == []


@pytest.mark.embedded
def test_the_exporter_listens_on_loopback_only(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "prestacop", "exporter", "--lake", str(tmp_path / "lake"), "--port"]
    with subprocess.Popen([*command, str(free_port())], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline().startswith("metrics: ")
        assert listening(process.pid)
        assert reachable(process.pid) == []
        process.terminate()


@pytest.mark.parametrize(
    "runner", ["PrismRunner", "SwitchingDirectRunner", "apache_beam.runners.portability.prism_runner.PrismRunner"]
)
def test_a_prism_that_beam_would_fetch_is_refused(runner: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        beam_options(argparse.ArgumentParser(), ["--runner", runner])
    assert ended.value.code == 2
    assert "leave --runner out" in capsys.readouterr().err


def jar(path: Path, code: bytes | None) -> str:
    """A jar with that in place of Beam's class."""
    with ZipFile(path, "w") as new:
        new.writestr("META-INF/MANIFEST.MF", "")
        if code is not None:
            new.writestr(java_job_server.CLASS, code)
    return str(path)


@pytest.mark.parametrize("name", ["Flink", "Spark"])
@pytest.mark.parametrize("module", ["", "apache_beam.runners.portability.{}_runner."])
def test_a_job_server_in_java_that_is_open_to_all_needs_a_flag(
    name: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runner = f"--runner={module.format(name.lower())}{name}Runner"
    flag = f"--{name.lower()}_job_server_jar"
    monkeypatch.setattr(java_job_server, "OURS", hashlib.sha256(b"ours").hexdigest())
    (tmp_path / "text").write_text("no jar")
    others = [jar(tmp_path / "theirs", b"theirs"), jar(tmp_path / "empty", None), str(tmp_path / "text")]
    for given in ([], *([flag, one] for one in (*others, str(tmp_path), "https://example.com/job-server.jar"))):
        with pytest.raises(SystemExit) as ended:
            beam_options(argparse.ArgumentParser(), [runner, *given])
        assert ended.value.code == 2
        assert "takes pipelines from the whole network" in capsys.readouterr().err
        assert beam_options(argparse.ArgumentParser(), [runner, *given, "--listen-on-all"])
    assert beam_options(argparse.ArgumentParser(), [runner, flag, jar(tmp_path / "ours", b"ours")])
    assert beam_options(argparse.ArgumentParser(), ["--runner=PortableRunner", "--job_endpoint=localhost:1"])


@pytest.mark.parametrize("address", ["[::]:0", "0.0.0.0:0", ":0", "127.0.0.1:0", "localhost:0"])
def test_a_grpc_server_listens_on_loopback_only(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc, "server", getattr(grpc.server, "__wrapped__", grpc.server))
    loopback.listen_here_alone()
    loopback.listen_here_alone()
    with ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool)
        port = server.add_insecure_port(address)
        opened = {one for one in listening(os.getpid()) if one.endswith(f":{port}")}
        open_to_all = opened & set(reachable(os.getpid()))
        server.stop(None).wait()
    assert opened
    assert open_to_all == set()


@pytest.mark.embedded
@pytest.mark.parametrize(
    ("family", "host", "is_open"),
    [
        ("AF_INET", "0.0.0.0", True),
        ("AF_INET6", "::", True),
        ("AF_INET", "127.0.0.1", False),
        ("AF_INET", "127.0.0.2", False),
        ("AF_INET6", "::1", False),
        ("AF_INET6", "::ffff:127.0.0.1", False),
    ],
)
def test_a_process_that_others_reach_is_found(family: str, host: str, is_open: bool) -> None:
    # A child of a child, as the workers of a runner are.
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {EVERYWHERE!r}, *sys.argv[1:]])"
    with subprocess.Popen([sys.executable, "-c", code, family, host, "0"]) as process:
        try:
            while not any(listening(child.pid) for child in psutil.Process(process.pid).children()):
                assert process.poll() is None
            assert bool(reachable(process.pid)) is is_open
        finally:
            for child in psutil.Process(process.pid).children():
                child.kill()


@pytest.mark.embedded
def test_a_job_server_that_others_reach_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    port = 0

    def command(chosen: int) -> list[str]:
        nonlocal port
        port = chosen
        return [sys.executable, "-c", EVERYWHERE, "AF_INET", "0.0.0.0", str(chosen)]

    with (
        pytest.raises(ServiceUnavailable, match=r"take pipelines from the whole network, at 0\.0\.0\.0"),
        job_server.job_server("Prism", command),
    ):
        pytest.fail("the body ran")
    with closing(socket.socket()) as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.embedded
@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no signal at the death of a parent")
def test_a_job_server_is_killed_with_the_process_that_started_it() -> None:
    script = f"""
import sys, time
from pipelines.cli.job_server import job_server
with job_server("Prism", lambda port: [sys.executable, "-c", {EVERYWHERE!r}, "AF_INET", "127.0.0.1", str(port)]):
    print("runs", flush=True)
    time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "runs\n"
        (server,) = psutil.Process(process.pid).children()
        process.kill()
    psutil.wait_procs([server], timeout=60)
    assert not server.is_running() or server.status() == psutil.STATUS_ZOMBIE
