"""Rules and dashboards: valid, tested, documented, and of metrics that exist."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.prometheus import OBSERVABILITY, names, prometheus, queries

DOCS = OBSERVABILITY.parents[1] / "docs"
DASHBOARDS = sorted((OBSERVABILITY / "dashboards").glob("*.json"))
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((OBSERVABILITY / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]
dashboard = pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)


def documented() -> set[str]:
    """The metrics of the tables in docs/metrics.md."""
    return set(re.findall(r"^\| `(\w+)` \|", (DOCS / "metrics.md").read_text(), re.MULTILINE))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_is_of_metrics_that_exist_and_says_what_to_do(rule: dict[str, Any]) -> None:
    assert names(rule["expr"]) <= documented()
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert page == "docs/observability.md"
    assert f"\n### {rule['alert']}\n" in (DOCS / "observability.md").read_text()
    assert anchor == rule["alert"].lower()
    assert f'alertname="{rule["alert"]}"' in (OBSERVABILITY / "alerts_test.yml").read_text()


@dashboard
def test_a_dashboard_is_of_metrics_that_exist_in_panels_that_do_not_overlap(path: Path) -> None:
    panels = json.loads(path.read_text())["panels"]
    used = [names(query) for query in queries({"panels": panels})]
    assert all(used)
    assert set().union(*used) <= documented()
    assert len({panel["id"] for panel in panels}) == len(panels)
    tiles = [
        (x, y)
        for at in (panel["gridPos"] for panel in panels)
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(set(tiles)) == len(tiles)
    assert {x for x, _ in tiles} == set(range(24))
    for panel in panels:
        defaults = panel["fieldConfig"]["defaults"]
        assert "unit" in defaults or "mappings" in defaults, panel["title"]


@pytest.mark.embedded
@pytest.mark.parametrize(
    "check", ["check config prometheus.yml", "check rules alerts.yml", "test rules alerts_test.yml"]
)
def test_promtool_accepts(check: str) -> None:
    promtool = prometheus().with_name("promtool")
    done = subprocess.run([promtool, *check.split()], cwd=OBSERVABILITY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
