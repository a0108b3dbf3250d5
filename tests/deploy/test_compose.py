"""The compose file: valid, locked down, and its commands exist."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.programs import COMPOSE
from tests.deploy.support import DEPLOY, installed, parse

ROOT = DEPLOY.parent
FILE = DEPLOY / "compose.yaml"
TEXT = FILE.read_text(encoding="utf-8")
MODEL: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, Any] = MODEL["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "prestacop:0.1.0"}
ONE_SHOT = {"topics", "officer-key"}
"""Those that end when they are done."""


def commands(service: Any) -> list[list[str]]:
    """The ``prestacop`` command lines of a service."""
    words = service["command"]
    if words[0] == "prestacop":
        return [words]
    return [found.split() for found in re.findall(r"prestacop [^;]+", words[-1])] if words[0] == "/bin/sh" else []


def load(file: Path) -> subprocess.CompletedProcess[str]:
    """Read a compose file as docker compose does, its variables aside."""
    line = [installed(COMPOSE), "-no-interpolation", "-format", "json", str(file)]
    return subprocess.run(line, capture_output=True, text=True, check=False)


@pytest.mark.services
def test_the_file_fits_the_compose_specification(tmp_path: Path) -> None:
    done = load(FILE)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["services"].keys() == SERVICES.keys()
    wrong = tmp_path / "compose.yaml"
    for right, misspelled in (("read_only:", "readonly:"), ("condition: service_healthy", "condition: healthy")):
        wrong.write_text(TEXT.replace(right, misspelled))
        assert load(wrong).returncode == 1, misspelled


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_is_locked_down_and_comes_back(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == ("on-failure" if name in ONE_SHOT else "unless-stopped")
    assert service["read_only"]
    assert service["tmpfs"] == (["/tmp:exec,mode=1777"] if name == "kafka" else ["/tmp"])
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert int(service["user"].partition(":")[0]) > 0
    assert not service.get("privileged")
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    assert re.search(r":v?\d+\.\d+\.\d+$", service["image"])


def test_each_volume_config_and_secret_is_defined_and_used() -> None:
    used: dict[str, set[str]] = {"volumes": set(), "configs": set(), "secrets": set()}
    for service in SERVICES.values():
        sources = {volume.partition(":")[0] for volume in service.get("volumes", ())}
        used["volumes"] |= {source for source in sources if not source.startswith(".")}
        used["configs"] |= {config["source"] for config in service.get("configs", ())}
        used["secrets"] |= {*service.get("secrets", ())}
    assert used == {kind: {*MODEL[kind]} for kind in used}


def test_what_others_wait_for_has_a_health_check() -> None:
    for name, service in SERVICES.items():
        depends = service.get("depends_on", {})
        assert {*depends} <= SERVICES.keys(), name
        for other, wait in depends.items() if isinstance(depends, dict) else ():
            if wait["condition"] == "service_healthy":
                assert SERVICES[other]["healthcheck"]["test"][0] == "CMD", other
            else:
                assert other in ONE_SHOT, name


@pytest.mark.parametrize("name", [name for name, service in OURS.items() if commands(service)])
def test_each_command_exists_with_its_flags(name: str) -> None:
    for command in commands(SERVICES[name]):
        parse(command)


def test_the_commands_are_those_of_an_installation() -> None:
    called = {command[1] for service in OURS.values() for command in commands(service)}
    assert called == {"topics", "console", "run", "compact", "exporter"}


def test_the_private_key_of_the_console_is_mounted_nowhere_else_but_to_copy_the_public_one() -> None:
    mounts = {name: [v.partition(":")[0] for v in service.get("volumes", ())] for name, service in SERVICES.items()}
    assert [name for name, sources in mounts.items() if "console" in sources] == ["console", "officer-key"]
    assert SERVICES["officer-key"]["network_mode"] == "none"


def test_each_secret_is_a_variable_of_the_example_and_has_no_value() -> None:
    example = (DEPLOY / "env.example").read_text(encoding="utf-8")
    names = {*re.findall(r"\$\{([A-Z0-9_]+)", TEXT), *re.findall(r"environment: ([A-Z_]+) }", TEXT)}
    assert names == {*re.findall(r"^([A-Z0-9_]+)=$", example, re.MULTILINE)}
    assert "/deploy/.env" in (ROOT / ".gitignore").read_text(encoding="utf-8").split()


def test_each_image_is_named_once_with_the_version_that_is_tested_here() -> None:
    images = re.findall(r"^    image: (\S+)", TEXT, re.MULTILINE)
    assert len(images) == len({*images})
    pom = (ROOT / "runners/services/kafka/pom.xml").read_text(encoding="utf-8")
    kafka = re.findall(r"<artifactId>kafka_2.13</artifactId>\s*<version>(.*)<", pom)
    assert {f"apache/kafka:{version}" for version in kafka} < {*images}


def test_prometheus_reads_every_page_of_metrics_under_the_name_that_the_alerts_know() -> None:
    example = yaml.safe_load((DEPLOY / "observability/prometheus.yml").read_text(encoding="utf-8"))
    ours = yaml.safe_load(MODEL["configs"]["prometheus"]["content"])
    ports: dict[str, dict[str, str]] = {}
    for name, config in (("example", example), ("ours", ours)):
        jobs = {job["job_name"]: job["static_configs"][0]["targets"][0] for job in config["scrape_configs"]}
        ports[name] = {job: target.rpartition(":")[2] for job, target in jobs.items()}
    assert ports["ours"] == ports["example"]


def test_each_file_that_is_mounted_exists() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert not source.startswith(".") or (DEPLOY / source).exists(), source
