"""Each manifest says what its schema allows: Kubernetes' own, and that of the Flink operator."""

import json
import zipfile
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from pipelines.maintenance.flags import compact
from runners.services.programs import HOME, TARGET, Program

MANIFESTS = sorted((Path(__file__).parents[2] / "deploy/kubernetes").glob("*.yaml"))
KUBERNETES = "1.31"
OPERATOR = Program(
    "flink-operator-api",
    (
        "mvn", "-q", "-B", "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy",
        "-Dartifact=org.apache.flink:flink-kubernetes-operator-api:1.10.0", f"-DoutputDirectory={TARGET}",
    ),
    "flink-kubernetes-operator-api-1.10.0.jar",
)  # fmt: skip


def crd_schema() -> Any:
    """That of a FlinkDeployment, from the operator's own jar; strict: a field that it does not know is an error."""
    with zipfile.ZipFile(OPERATOR.install(HOME)) as jar:
        crd = yaml.safe_load(jar.read("META-INF/fabric8/flinkdeployments.flink.apache.org-v1.yml"))
    return closed(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"])


def closed(schema: Any) -> Any:
    """The same, where an object has no fields but those that are named."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: closed(part) for name, part in schema.items()}
    if "properties" in schema and isinstance(schema["properties"], dict) and schema.get("type") == "object":
        found.setdefault("additionalProperties", False)
    return found


def of_kubernetes(document: Any) -> None:
    kubernetes_validate.validate(document, KUBERNETES, strict=True)


def of_flink(document: Any) -> None:
    known: dict[str, Any] = {"apiVersion": {}, "kind": {}, "metadata": {}}
    schema = crd_schema()
    schema["properties"] |= known
    jsonschema.validate(document, schema)


@pytest.mark.parametrize("path", [path for path in MANIFESTS if "flink" not in path.name], ids=lambda p: p.name)
def test_a_manifest_of_kubernetes_fits_its_schema(path: Path) -> None:
    for document in yaml.safe_load_all(path.read_text()):
        of_kubernetes(document)


@pytest.mark.services
@pytest.mark.parametrize("path", [path for path in MANIFESTS if "flink" in path.name], ids=lambda p: p.name)
def test_a_manifest_of_flink_fits_the_operators_schema(path: Path) -> None:
    for document in yaml.safe_load_all(path.read_text()):
        of_flink(document)
        wrong = json.loads(json.dumps(document))
        wrong["spec"]["taskManagers"] = wrong["spec"].pop("taskManager")
        with pytest.raises(jsonschema.ValidationError):
            of_flink(wrong)
        for pod in (document["spec"]["taskManager"]["podTemplate"],):
            of_kubernetes(pod)


def labels_of_pods(document: Any) -> dict[str, str]:
    """Those that the pods of a workload have; the operator gives those of Flink the deployment's name."""
    if document["kind"] == "FlinkDeployment":
        return {"app": document["metadata"]["name"]}
    spec = document["spec"]
    template = spec["jobTemplate"]["spec"]["template"] if document["kind"] == "CronJob" else spec["template"]
    return dict(template["metadata"]["labels"])


def test_every_workload_is_reachable_from_named_pods_only() -> None:
    documents = [document for path in MANIFESTS for document in yaml.safe_load_all(path.read_text())]
    policies = [document["spec"] for document in documents if document["kind"] == "NetworkPolicy"]
    workloads = [document for document in documents if document["kind"] != "NetworkPolicy"]
    assert len(workloads) >= 3
    for workload in workloads:
        labels = labels_of_pods(workload)
        chosen = [spec for spec in policies if spec["podSelector"]["matchLabels"].items() <= labels.items()]
        assert chosen, f"no NetworkPolicy selects the pods of {workload['metadata']['name']}"
        for spec in chosen:
            assert "Ingress" in spec["policyTypes"]
            for peer in (peer for rule in spec["ingress"] for peer in rule["from"]):
                assert peer["podSelector"]["matchLabels"], f"{peer} lets everybody in"


def test_a_misspelled_field_is_found() -> None:
    document = yaml.safe_load((MANIFESTS[0].parent / "spark-follow.yaml").read_text())
    document["spec"]["concurencyPolicy"] = document["spec"].pop("concurrencyPolicy")
    with pytest.raises(kubernetes_validate.ValidationError):
        of_kubernetes(document)


def test_the_compaction_runs_a_command_that_exists() -> None:
    document = yaml.safe_load((MANIFESTS[0].parent / "compact.yaml").read_text())
    (container,) = document["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["python", "-m", "prestacop"]
    name, *flags = container["args"]
    assert name == "compact"
    assert compact().parse_args(flags).retention == 86_400
    assert document["spec"]["concurrencyPolicy"] == "Forbid"
