"""The Helm chart: what it renders fits the schemas, is locked down, and calls commands that exist."""

import itertools
import json
import re
import subprocess
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from runners import versions
from tests.deploy.programs import HELM, OPERATOR
from tests.deploy.support import DEPLOY, installed, parse

pytestmark = pytest.mark.services

CHART = DEPLOY / "helm/prestacop"
FULL = Path(__file__).with_name("full-values.yaml")
KUBERNETES = "1.31"
SETTINGS: dict[str, tuple[str, ...]] = {
    "default": (),
    "full": ("--values", str(FULL)),
    "spark": ("--values", str(FULL), "--set", "pipeline.runner=spark"),
    "bare": (
        *("--set", "pipeline.runner=none", "--set", "secret="),
        *("--set", "exporter.enabled=false", "--set", "compact.enabled=false"),
    ),
}
EXTENSIONS = ("FlinkDeployment", "ServiceMonitor", "PrometheusRule")
"""Kinds that are not Kubernetes' own."""


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run helm on the chart."""
    line = [installed(HELM), *arguments, "--kube-version", KUBERNETES]
    return subprocess.run(line, capture_output=True, text=True, check=False)


@cache
def rendered(setting: str) -> list[Any]:
    """The objects of the chart."""
    done = helm("template", "city", str(CHART), *SETTINGS[setting])
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def of_kind(setting: str, *kinds: str) -> list[Any]:
    return [document for document in rendered(setting) if document["kind"] in kinds]


def pods_of_flink(spec: Any) -> Iterator[Any]:
    """The pods of a FlinkDeployment, as the operator merges their templates: lists by their positions."""
    for part in ("jobManager", "taskManager"):
        yield merged(spec["podTemplate"], spec[part]["podTemplate"])


def merged(below: Any, above: Any) -> Any:
    if isinstance(below, dict) and isinstance(above, dict):
        return {key: merged(below.get(key), above.get(key)) for key in below | above}
    if isinstance(below, list) and isinstance(above, list):
        return [merged(*pair) for pair in itertools.zip_longest(below, above)]
    return below if above is None else above


def pods(setting: str) -> dict[str, Any]:
    """The template of each pod, by workload."""
    found: dict[str, Any] = {}
    for document in rendered(setting):
        name, spec = document["metadata"]["name"], document.get("spec", {})
        if document["kind"] == "CronJob":
            found[name] = spec["jobTemplate"]["spec"]["template"]
        elif document["kind"] == "Deployment":
            found[name] = spec["template"]
        elif document["kind"] == "FlinkDeployment":
            found[f"{name}-jobmanager"], found[f"{name}-taskmanager"] = pods_of_flink(spec)
    return found


def containers(setting: str) -> Iterator[tuple[str, Any, Any]]:
    for name, pod in pods(setting).items():
        for container in (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]):
            yield f"{name}/{container['name']}", container, pod["spec"]


@cache
def crd_schema() -> Any:
    """That of a FlinkDeployment, from the operator's own jar; strict: a field that it does not know is an error."""
    with zipfile.ZipFile(installed(OPERATOR)) as jar:
        crd = yaml.safe_load(jar.read("META-INF/fabric8/flinkdeployments.flink.apache.org-v1.yml"))
    schema = closed(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
    schema["properties"] |= {"apiVersion": {}, "kind": {}, "metadata": {}}
    return schema


def closed(schema: Any) -> Any:
    """The same schema, whose objects have no fields but those that are named."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: closed(part) for name, part in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        found.setdefault("additionalProperties", False)
    return found


@pytest.mark.parametrize("setting", SETTINGS)
def test_helm_finds_no_fault(setting: str) -> None:
    done = helm("lint", "--strict", str(CHART), *SETTINGS[setting])
    assert done.returncode == 0, done.stdout
    assert "WARNING" not in done.stdout


@pytest.mark.parametrize("setting", SETTINGS)
def test_each_object_fits_the_schema_of_kubernetes(setting: str) -> None:
    documents = [document for document in rendered(setting) if document["kind"] not in EXTENSIONS]
    assert documents
    for document in documents:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
    for name, pod in pods(setting).items():
        document = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, **pod["metadata"]},
            "spec": pod["spec"],
        }
        kubernetes_validate.validate(document, KUBERNETES, strict=True)


def test_a_misspelled_field_is_found() -> None:
    (document,) = of_kind("bare", "Deployment")
    wrong = json.loads(json.dumps(document))
    wrong["spec"]["replica"] = wrong["spec"].pop("replicas")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES, strict=True)


@pytest.mark.parametrize("setting", ["default", "full"])
def test_the_pipeline_fits_the_schema_of_the_flink_operator(setting: str) -> None:
    (document,) = of_kind(setting, "FlinkDeployment")
    jsonschema.validate(document, crd_schema())
    wrong = json.loads(json.dumps(document))
    wrong["spec"]["taskManagers"] = wrong["spec"].pop("taskManager")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, crd_schema())


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_container_is_locked_down_and_has_limits(setting: str) -> None:
    for name, pod in pods(setting).items():
        security = pod["spec"]["securityContext"]
        assert security["runAsNonRoot"], name
        assert security["runAsUser"] >= 1000, name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert pod["spec"]["enableServiceLinks"] is False, name
        for field in ("hostNetwork", "hostPID", "hostIPC"):
            assert not pod["spec"].get(field), name
        assert {next(iter(volume.keys() - {"name"})) for volume in pod["spec"]["volumes"]} <= {
            *("emptyDir", "configMap", "persistentVolumeClaim"),
        }, name
    for name, container, pod in containers(setting):
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"], name
        assert security["allowPrivilegeEscalation"] is False, name
        assert security["capabilities"] == {"drop": ["ALL"]}, name
        assert any(mount["mountPath"] == "/tmp" for mount in container["volumeMounts"]), name
        assert {mount["name"] for mount in container["volumeMounts"]} <= {v["name"] for v in pod["volumes"]}, name
        if container["name"] != "flink-main-container":  # its resources are those of the FlinkDeployment
            assert {*container["resources"]["requests"]} == {"cpu", "memory"}, name
            assert container["resources"]["limits"]["memory"], name
            image, tag = container["image"].rsplit(":", 1)
            assert tag != "latest", image


@pytest.mark.parametrize("setting", SETTINGS)
def test_only_flink_may_call_kubernetes(setting: str) -> None:
    accounts = {document["metadata"]["name"]: document for document in of_kind(setting, "ServiceAccount")}
    assert all(account["automountServiceAccountToken"] is False for account in accounts.values())
    for name, pod in pods(setting).items():
        assert pod["spec"]["serviceAccountName"] in accounts
        is_flink = bool(of_kind(setting, "FlinkDeployment")) and name.startswith("city-pipeline")
        assert pod["spec"]["automountServiceAccountToken"] is is_flink, name
    roles = of_kind(setting, "Role", "ClusterRole")
    assert [role["kind"] for role in roles] == ["Role"] * len(of_kind(setting, "FlinkDeployment"))
    for role in roles:
        assert not re.search(r"\*|secrets", json.dumps(role["rules"]))


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_pod_is_reachable_from_named_pods_only(setting: str) -> None:
    policies = [document["spec"] for document in of_kind(setting, "NetworkPolicy")]
    for name, pod in pods(setting).items():
        labels = pod["metadata"]["labels"]
        chosen = [spec for spec in policies if spec["podSelector"]["matchLabels"].items() <= labels.items()]
        assert len(chosen) == 1, name
        assert chosen[0]["policyTypes"] == ["Ingress"]
        for peer in (peer for rule in chosen[0]["ingress"] for peer in rule["from"]):
            selectors = [selector["matchLabels"] for selector in peer.values() if selector]
            assert selectors, f"{peer} lets everybody in"
            assert all(selectors), f"{peer} lets everybody in"


@pytest.mark.parametrize("setting", SETTINGS)
def test_each_command_exists_with_its_flags(setting: str) -> None:
    seen = set()
    for name, container, _ in containers(setting):
        command = [*container.get("command", ()), *container.get("args", ())]
        if command[:1] == ["prestacop"]:
            seen.add(command[1])
            arguments = parse(command)
            assert getattr(arguments, "lake", None) or command[1] == "console", name
        elif command[:1] == ["python"]:
            assert command == ["python", "-m", "runners.workers.pool", "--port=50000"]
        else:
            assert container["name"] in ("flink-main-container", "job-server"), name
    assert seen == {"bare": {"console"}}.get(setting, {"run", "console", "exporter", "compact"})


@pytest.mark.parametrize("setting", SETTINGS)
def test_each_probe_and_service_names_a_port_that_its_container_has(setting: str) -> None:
    ports: dict[str, set[str]] = {}
    for name, container, _ in containers(setting):
        own = ports[name.partition("/")[0]] = {port["name"] for port in container.get("ports", ())}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            check = container.get(probe, {})
            for kind in ("httpGet", "tcpSocket"):
                assert check.get(kind, {}).get("port") in (None, *own), name
    for service in of_kind(setting, "Service"):
        for port in service["spec"]["ports"]:
            assert port["targetPort"] in ports[service["metadata"]["name"]]


def test_runs_do_not_overlap_and_one_console_has_the_volume() -> None:
    for job in (*of_kind("default", "CronJob"), *of_kind("spark", "CronJob")):
        assert job["spec"]["concurrencyPolicy"] == "Forbid"
        assert job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    console = next(d for d in of_kind("default", "Deployment") if d["metadata"]["name"] == "city-console")
    assert (console["spec"]["replicas"], console["spec"]["strategy"]) == (1, {"type": "Recreate"})
    (claim,) = of_kind("default", "PersistentVolumeClaim")
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_the_pipeline_runs_the_flink_that_is_tested_here() -> None:
    (document,) = of_kind("default", "FlinkDeployment")
    assert document["spec"]["image"] == f"flink:{versions.FLINK}-java17"
    assert document["spec"]["flinkVersion"] == f"v{versions.FLINK_MINOR.replace('.', '_')}"
    (main,) = (c for n, c, _ in containers("default") if n == "city-pipeline-jobmanager/flink-main-container")
    assert {"name": "ENABLE_BUILT_IN_PLUGINS", "value": f"flink-s3-fs-presto-{versions.FLINK}.jar"} in main["env"]


def test_the_prometheus_operator_gets_the_alerts_and_every_page_of_metrics() -> None:
    (rule,) = of_kind("full", "PrometheusRule")
    assert rule["spec"] == yaml.safe_load((DEPLOY / "observability/alerts.yml").read_text(encoding="utf-8"))
    example = yaml.safe_load((DEPLOY / "observability/prometheus.yml").read_text(encoding="utf-8"))
    jobs = {job["job_name"] for job in example["scrape_configs"]}
    monitors = [monitor["spec"]["endpoints"] for monitor in of_kind("full", "ServiceMonitor")]
    assert {endpoint["relabelings"][0]["replacement"] for (endpoint,) in monitors} == jobs
    assert not of_kind("default", *EXTENSIONS[1:])


def test_no_secret_is_in_an_object() -> None:
    assert not of_kind("full", "Secret")
    for name, container, _ in containers("full"):
        assert container["envFrom"] == [{"secretRef": {"name": "aws-and-kafka"}}], name


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("consle.enabled=false", "consle"),
        ("console.replicas=2", "replicas"),
        ("pipeline.flink.upgradeMode=savepoint", "last-state"),
        ("lake=/data/lake", "/lake"),
        ("monitoring.scrapeFrom=null", "scrapeFrom"),
        ("pipeline.runner=beam", "flink"),
    ],
)
def test_a_wrong_value_is_refused(value: str, text: str) -> None:
    done = helm("template", "city", str(CHART), "--set", value)
    assert done.returncode == 1
    assert text in done.stderr


def test_every_value_has_its_schema_and_each_field_of_the_schema_its_value() -> None:
    def names(value: Any, path: str = "") -> Iterator[str]:
        for name, part in value.items():
            yield f"{path}{name}"
            if isinstance(part, dict):
                yield from names(part, f"{path}{name}.")

    def fields(schema: Any, path: str = "") -> Iterator[str]:
        for name, part in schema.get("properties", {}).items():
            yield f"{path}{name}"
            yield from fields(definitions[part["$ref"]] if "$ref" in part else part, f"{path}{name}.")

    schema = json.loads((CHART / "values.schema.json").read_text())
    definitions = {f"#/definitions/{name}": part for name, part in schema["definitions"].items()}
    known = {*fields(schema)} - {"global"}
    values = {*names(yaml.safe_load((CHART / "values.yaml").read_text()))}
    assert known <= values
    for name in values - known:  # under what takes any names
        assert any(name.startswith(f"{parent}.") for parent in known - {p.rpartition(".")[0] for p in known}), name
