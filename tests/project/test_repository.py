"""The files that GitHub, pre-commit and citation tools read: that they say what those expect."""

import re

import jsonschema
import pytest
import yaml
from course import PYPROJECT, REPOSITORY, ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))

# the part of GitHub's workflow syntax that is used here; anything else is a slip
STEP = {
    "type": "object",
    "oneOf": [{"required": ["uses"]}, {"required": ["run"]}],
    "additionalProperties": False,
    "properties": {
        "id": {"type": "string"},
        "name": {"type": "string"},
        "if": {"type": "string"},
        "run": {"type": "string", "minLength": 1},
        "uses": {"type": "string", "pattern": r"^[\w.-]+/[\w.-]+@[0-9a-f]{40}$"},
        "with": {"type": "object", "additionalProperties": {"type": ["string", "boolean"]}},
        "env": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}
LEVELS = {"type": "object", "additionalProperties": {"enum": ["read", "write", "none"]}}
JOB = {
    "type": "object",
    "required": ["runs-on", "steps"],
    "additionalProperties": False,
    "properties": {
        "runs-on": {"type": "string", "pattern": "^ubuntu-"},
        "timeout-minutes": {"type": "integer", "maximum": 360},
        "if": {"type": "string"},
        "needs": {"type": "string"},
        "permissions": LEVELS,
        "environment": {"type": "object", "required": ["name"]},
        "steps": {"type": "array", "minItems": 1, "items": STEP},
    },
}
WORKFLOW = {
    "type": "object",
    "required": ["name", "on", "permissions", "jobs"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string"},
        "on": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "push": {"type": ["object", "null"]},
                "pull_request": {"type": ["object", "null"]},
                "workflow_dispatch": {"type": ["object", "null"]},
                "schedule": {
                    "type": "array",
                    "items": {"properties": {"cron": {"pattern": r"^(\S+ ){4}\S+$"}}},
                },
            },
        },
        "permissions": LEVELS,
        "concurrency": {"type": "object", "required": ["group"]},
        "jobs": {"type": "object", "minProperties": 1, "additionalProperties": JOB},
    },
}


def workflow(path):
    """A workflow as GitHub reads it; YAML 1.1 takes the key ``on`` for a truth value."""
    content = yaml.safe_load(path.read_text("utf-8"))
    return {"on" if key is True else key: value for key, value in content.items()}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.name)
def test_workflow_is_one(path):
    content = workflow(path)
    jsonschema.validate(content, WORKFLOW)
    for name, job in content["jobs"].items():
        assert job.get("needs", name) in content["jobs"]
    text = path.read_text("utf-8")
    for expression in re.findall(r"\$\{\{(.*?)\}\}", text):
        names = re.findall(r"\b(\w+)\.", re.sub(r"'[^']*'", "", expression))
        assert names, f"nothing is named in {expression!r}"
        assert names[0] in {"github", "steps", "runner", "env", "matrix"}
    assert text.count("${{") == text.count("}}")


def test_workflow_schema_refuses_a_slip():
    pinned = "actions/checkout@" + 40 * "0"
    for slip in ({"run": "true", "uses": pinned}, {"uses": "actions/checkout@v4"}):
        content = workflow(WORKFLOWS[0])
        content["jobs"]["check"]["steps"].append(slip)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(content, WORKFLOW)


def test_actions_are_pinned_with_their_version_beside():
    for path in WORKFLOWS:
        for line in path.read_text("utf-8").splitlines():
            if "uses:" in line:
                assert re.search(r"@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line


def test_no_job_may_do_more_than_it_needs():
    writers = {"package": {"id-token"}, "pages": {"pages", "id-token"}}
    for path in WORKFLOWS:
        content = workflow(path)
        assert content["permissions"] in ({}, {"contents": "read"})
        for name, job in content["jobs"].items():
            may_write = {k for k, v in job.get("permissions", {}).items() if v == "write"}
            assert may_write == writers.get(name, set())
            for step in job["steps"]:
                if step.get("uses", "").startswith("actions/checkout@"):
                    assert step["with"]["persist-credentials"] is False


def test_release_is_checked_tried_and_then_published():
    content = workflow(ROOT / ".github" / "workflows" / "release.yml")
    assert content["on"] == {"push": {"tags": ["v*"]}}
    jobs = content["jobs"]
    steps = jobs["build"]["steps"]
    runs = [step.get("run", "") for step in steps]
    order = [
        next(i for i, run in enumerate(runs) if what in run)
        for what in ("GITHUB_REF_NAME", "bash .ci/run", "python -m build", "tlseg-lite train")
    ]
    assert order == sorted(order)
    [pages] = [s for s in steps if "upload-pages-artifact" in s.get("uses", "")]
    assert pages["with"]["path"] == "_build/html"
    assert jobs["package"]["needs"] == "build"
    assert jobs["pages"]["needs"] == "package"


def test_check_keeps_the_pictures_of_the_pages():
    steps = workflow(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]["check"]["steps"]
    assert "bash .ci/run" in [step.get("run") for step in steps]
    [pictures] = [s for s in steps if "upload-artifact@" in s.get("uses", "")]
    ignored = (ROOT / ".gitignore").read_text("utf-8").splitlines()
    assert f"/{pictures['with']['path']}/" in ignored


def test_citation_has_what_tools_ask_for():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "type", "version", "license"} <= set(citation)
    assert citation["type"] == "software"
    assert set(citation["license"]) == {"MIT", "CC-BY-4.0"}  # identifiers of SPDX
    assert citation["repository-code"] == REPOSITORY
    for work in (citation, *citation["references"]):
        assert work["title"]
        for author in work["authors"]:
            assert set(author) in ({"name"}, {"family-names", "given-names"})
    for reference in citation["references"]:
        assert reference["type"] in {"article", "conference-paper", "dataset"}
        assert {"doi", "url"} & set(reference), reference["title"]
        if "doi" in reference:
            assert re.fullmatch(r"10\.\d{4,9}/\S+", reference["doi"])


def test_licences_of_code_and_text():
    assert (ROOT / "LICENSE").read_text("utf-8").startswith("MIT License")
    text = (ROOT / "LICENSE-TEXT").read_text("utf-8")
    assert "CC BY 4.0" in text
    assert "https://creativecommons.org/licenses/by/4.0/" in text
    assert "MIT" in PYPROJECT["project"]["license"]["text"]


def test_hooks_keep_cell_ids_and_compared_outputs():
    hooks = {
        hook["id"]: hook
        for repo in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
        for hook in repo["hooks"]
    }
    assert {"ruff-check", "ruff-format", "nbstripout", "codespell"} <= set(hooks)
    assert "--keep-id" in hooks["nbstripout"]["entry"], "ids of cells are readable and stay"
    for hook in hooks.values():
        assert hook["language"] == "python"
        assert hook["additional_dependencies"]


@pytest.mark.parametrize(
    "path", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.md")), ids=lambda p: p.name
)
def test_issue_templates_have_a_name_and_ask_something(path):
    _, head, body = path.read_text("utf-8").split("---\n", 2)
    assert {"name", "about"} <= set(yaml.safe_load(head))
    assert body.count("**") >= 6
