"""No command opens a port to more than this machine."""

import argparse
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import grpc
import psutil
import pytest

from pipelines import job_server, loopback
from pipelines.command import beam_options
from pipelines.loopback import reachable
from schemas.errors import ServiceUnavailable
from tests.apps.console_process import NOWHERE, console
from tests.sockets import listening, watched
from tests.support import make_history, run_graph

PROCESSES = ("--direct_running_mode", "multi_processing", "--direct_num_workers", "2")
EVERYWHERE = """
import socket, sys, time
listener = socket.socket(getattr(socket, sys.argv[1]))
listener.bind((sys.argv[2], int(sys.argv[3])))
listener.listen()
time.sleep(60)
"""


def graph(root: Path, *flags: str) -> list[str]:
    """A run over a new history."""
    history = make_history(root.with_suffix(".csv"), 20_000)
    return ["pipelines.violations", "--history", str(history), "--output", str(root), *flags]


def over(root: Path, module: str, *flags: str) -> list[str]:
    """A command over a lake that has more than one file of a month, and dead letters."""
    for n in range(2):
        run_graph(root, make_history(root.with_suffix(f".{n}.csv"), 2_000, "--seed", str(n)))
    return [module, *flags]


COMMANDS: dict[str, Callable[[Path], list[str]]] = {
    "violations in threads": graph,
    "violations in processes": lambda root: graph(root, *PROCESSES),
    "compact": lambda root: over(root, "pipelines.compact", "--lake", str(root)),
    "replay": lambda root: over(root, "pipelines.replay", "--lake", str(root), "--reason", "code_out_of_range"),
    "analysis": lambda root: over(
        root, "pipelines.analysis", "--lake", str(root), "--report", str(root.with_suffix(".html"))
    ),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_bounded_command_listens_here_alone(name: str, tmp_path: Path) -> None:
    command = COMMANDS[name](tmp_path / "lake")
    ran = watched([sys.executable, "-m", *command], tmp_path / "log")
    assert ran.code == 0, ran.said
    assert ran.listened, "Beam's servers were not seen: the test looks too seldom"
    assert ran.reachable == set()


def test_the_console_listens_here_alone(tmp_path: Path) -> None:
    before = {child.pid for child in psutil.Process().children()}
    with console(tmp_path / "console", NOWHERE, NOWHERE):
        (process,) = (child for child in psutil.Process().children() if child.pid not in before)
        assert listening(process.pid)
        assert reachable(process.pid) == []


@pytest.mark.parametrize(
    "runner", ["PrismRunner", "SwitchingDirectRunner", "apache_beam.runners.portability.prism_runner.PrismRunner"]
)
def test_a_prism_that_beam_would_fetch_is_refused(runner: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        beam_options(argparse.ArgumentParser(), ["--runner", runner])
    assert ended.value.code == 2
    assert "leave --runner out" in capsys.readouterr().err


@pytest.mark.parametrize("address", ["[::]:0", "0.0.0.0:0", ":0", "127.0.0.1:0", "localhost:0"])
def test_a_server_of_grpc_listens_here_alone(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
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
