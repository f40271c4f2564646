"""docs/architecture.md is true: files and names exist, every question has a short answer, files have a fair size."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

from tests.helpers.paths import ROOT

TEXT = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
MENTION = re.compile(r"`([\w./]+\.(?:py|yaml|toml|md)|[\w/]+/)(?::([\w.]+))?`")
CODE = ("harness", "attacks", "defenses", "evaluators", "experiments", "benchmarks")
QUESTIONS = (
    "worst case",
    "a score that boards show",
    "a kind of data set",
    "a board column",
    "a command",
    "an attack family",
    "a record's identity",
    "may an attack see",
    "a function of one's own",
    "a p-value",
    "are sent by",
    "does CI compare",
)


def section(heading: str) -> str:
    return TEXT.split(f"## {heading}\n")[1].split("\n## ")[0]


def rows(heading: str) -> list[list[str]]:
    """The cells of the section's first table, without its head."""
    lines = [line for line in section(heading).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def python_files(folder: Path) -> list[Path]:
    """Python files below a folder; harness/plugins links to folders that are counted by themselves."""
    found = []
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            found += python_files(path)
        elif path.suffix == ".py":
            found.append(path)
    return found


def defines(body: list[ast.stmt], name: str) -> ast.stmt | None:
    """The statement that defines a name at this level."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return node
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return node
    return None


@pytest.mark.parametrize(("path", "name"), sorted(set(MENTION.findall(TEXT))))
def test_every_file_and_name_on_the_page_exists(path: str, name: str) -> None:
    file = ROOT / path

    assert file.is_dir() if path.endswith("/") else file.is_file()
    if path.endswith(".yaml") and name:
        assert name in yaml.safe_load(file.read_text(encoding="utf-8"))
    elif name:
        body = ast.parse(file.read_text(encoding="utf-8")).body
        for part in name.split("."):
            node = defines(body, part)
            assert node is not None, f"{path} does not define {part}"
            body = getattr(node, "body", [])


def test_every_question_is_answered_by_at_most_two_files() -> None:
    answers = rows("Where to look")

    assert len(answers) == len(QUESTIONS)
    for (question, answer), words in zip(answers, QUESTIONS, strict=True):
        assert words in question
        assert 1 <= len({path for path, _ in MENTION.findall(answer)}) <= 2, question


def test_every_folder_of_the_code_is_on_the_page() -> None:
    listed = {path for path, _ in MENTION.findall(section("Folders"))}
    folders = {f"{file.parent.relative_to(ROOT)}/" for folder in CODE for file in python_files(ROOT / folder)}

    assert sorted(folders - listed) == []


def test_the_layers_on_the_page_are_those_that_are_checked() -> None:
    contract = (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("layers = [")[1].split("\n]")[0]
    checked = set(re.findall(r"(?<!\()harness\.(?:plugins\.)?(\w+)(?!\))", contract)) - {"__main__"}
    page = set(re.findall(r"\w+", section("Folders").split("```")[1])) - {"plugins"}

    assert page == checked


def test_few_files_are_directly_in_harness_or_in_one_folder() -> None:
    sizes = Counter(file.parent for top in (*CODE, "tests") for file in python_files(ROOT / top))

    assert sizes[ROOT / "harness"] <= 20
    assert max(sizes.values()) <= 25


def test_no_file_is_long_and_the_short_ones_are_listed_with_their_reason() -> None:
    registry = yaml.safe_load((ROOT / "registry.yaml").read_text(encoding="utf-8"))
    plugins = {
        ROOT / f"{entry['use'].split(':')[0].replace('.', '/')}.py" for s in registry.values() for entry in s.values()
    }
    lengths = {
        file: len(file.read_text(encoding="utf-8").splitlines()) for top in CODE for file in python_files(ROOT / top)
    }
    short = {
        str(file.relative_to(ROOT))
        for file, length in lengths.items()
        if length < 40 and file.stem not in ("__init__", "__main__") and file not in plugins
    }
    listed = {cells[0].strip("`"): cells[1] for cells in rows("Files under 40 lines")}

    assert [file for file, length in lengths.items() if length > 400] == []
    assert len(short) <= 5
    assert set(listed) == short
    assert all(listed.values())
