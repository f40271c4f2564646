"""Issue forms and workflows have the form that GitHub takes; workflows that run other people's code have no rights."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from harness.cli import parser
from harness.commands.completion import parsers
from tests.helpers.paths import ROOT

FORMS = sorted(path for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config")
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
TEXT = {"label", "description", "placeholder", "value"}
ATTRIBUTES = {
    "markdown": {"value"},
    "input": TEXT,
    "textarea": {*TEXT, "render"},
    "dropdown": {"label", "description", "multiple", "options"},
    "checkboxes": {"label", "description", "options"},
}
"""By type of element what it may have: github.com/SchemaStore/schemastore, github-issue-forms.json."""


def loaded(path: Path) -> dict:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def test_there_is_a_form_for_each_way_to_submit_and_for_bugs() -> None:
    assert [path.stem for path in FORMS] == ["bug", "external_evaluation", "new_attack", "new_defense"]
    assert len({loaded(path)["name"] for path in FORMS}) == len(FORMS)
    config = loaded(ROOT / ".github/ISSUE_TEMPLATE/config.yml")
    assert set(config) <= {"blank_issues_enabled", "contact_links"} and isinstance(config["blank_issues_enabled"], bool)


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_has_the_keys_and_types_that_github_takes(path: Path) -> None:
    form = loaded(path)

    assert {"name", "description", "body"} <= set(form) <= {"name", "description", "title", "labels", "body"}
    assert text(form["name"]) and text(form["description"]) and text(form["title"])
    assert all(map(text, form["labels"])) and len(set(form["labels"])) == len(form["labels"])
    assert any(element["type"] != "markdown" for element in form["body"])


@pytest.mark.parametrize(
    ("path", "element"), [(path, each) for path in FORMS for each in loaded(path)["body"]],
    ids=lambda each: each.stem if isinstance(each, Path) else str(each.get("id", each["type"])),
)  # fmt: skip
def test_an_element_of_a_form_has_the_keys_and_types_of_its_kind(path: Path, element: dict) -> None:
    kind, attributes = element["type"], element["attributes"]
    others = {"markdown": set(), "checkboxes": {"id"}}.get(kind, {"id", "validations"})

    assert set(element) <= {"type", "attributes", *others} and set(attributes) <= ATTRIBUTES[kind]
    assert text(attributes["value" if kind == "markdown" else "label"])
    assert all(text(value) for name, value in attributes.items() if name not in ("options", "multiple"))
    assert isinstance(attributes.get("multiple", False), bool)
    assert set(element.get("validations", {})) <= {"required"}
    assert all(isinstance(value, bool) for value in element.get("validations", {}).values())
    options = attributes.get("options", [])
    assert bool(options) == (kind in ("dropdown", "checkboxes"))
    if kind == "dropdown":
        assert all(map(text, options)) and len(set(options)) == len(options)
        assert "none" not in map(str.lower, options)  # GitHub's own word for no choice
    for option in options if kind == "checkboxes" else ():
        assert text(option["label"]) and set(option) <= {"label", "required"}
        assert isinstance(option.get("required", False), bool)


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_fields_of_a_form_have_names_and_labels_of_their_own(path: Path) -> None:
    fields = [element for element in loaded(path)["body"] if element["type"] != "markdown"]

    ids = [element["id"] for element in fields]
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", each) for each in ids) and len(set(ids)) == len(ids)
    labels = [element["attributes"]["label"] for element in fields]
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_commands_and_files_that_a_form_names_are_there(path: Path) -> None:
    said = re.findall(r"`([^`]+)`", path.read_text(encoding="utf-8"))
    names = [each.prog.removeprefix("harness ") for each in parsers(parser())]

    for word in said:
        if word.startswith("harness ") and not word.startswith("harness --"):
            assert any(word.removeprefix("harness ").startswith(name) for name in names), word
        elif re.fullmatch(r"[\w./]+\.(md|yaml|yml)|\w+/", word):
            assert (ROOT / word).exists(), word
        elif word.startswith("make "):
            assert f"\n{shlex.split(word)[1]}:" in (ROOT / "Makefile").read_text(encoding="utf-8"), word


def test_what_is_granted_is_offered_in_the_words_of_the_registry() -> None:
    registry = yaml.safe_load((ROOT / "registry.yaml").read_text(encoding="utf-8"))["attacks"].values()
    granted = {grant for entry in registry for grant in entry.get("granted", [])} - {"plans"}  # of controls alone
    kinds = {entry["kind"] for entry in registry}
    fields = {
        each.get("id"): each["attributes"] for each in loaded(ROOT / ".github/ISSUE_TEMPLATE/new_attack.yml")["body"]
    }

    assert {option.split(" (")[0] for option in fields["granted"]["options"]} == {*granted, "nothing"}
    assert {option.split(" (")[0] for option in fields["kind"]["options"]} == kinds


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_can_only_read_and_pins_its_actions(path: Path) -> None:
    workflow = loaded(path)
    used = re.findall(r"uses: (.*)", path.read_text(encoding="utf-8"))

    assert used and all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v[\d.]+", each) for each in used)
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 60
    if "pull_request" in workflow[True]:  # YAML reads the key `on` as true
        assert workflow["permissions"] == {"contents": "read"}


def test_submitted_plugins_run_without_secrets_and_without_a_token_that_writes() -> None:
    path = ROOT / ".github/workflows/validate.yml"
    content, workflow = path.read_text(encoding="utf-8"), loaded(path)

    assert list(workflow[True]) == ["pull_request"]  # pull_request_target would hand secrets to the code of a fork
    assert "secrets." not in content and "permissions" not in workflow["jobs"]["plugins"]
    steps = workflow["jobs"]["plugins"]["steps"]
    assert steps[0]["with"]["persist-credentials"] is False
    for step in steps:
        assert "${{" not in step.get("run", "")  # text of a pull request would be run by the shell
    (command,) = [step["run"] for step in steps if ".ci/" in step.get("run", "")]
    assert (ROOT / shlex.split(command)[1]).is_file()
