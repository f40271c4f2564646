"""What surrounds the package: its metadata and extras, the citation, the container and the development container."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import tomllib
from datetime import date

import pytest
import yaml

import harness
from harness.cli import parser
from harness.trackers import TRACKERS
from tests.helpers.paths import ROOT

SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = SETTINGS["project"]
EXTRAS = PROJECT["optional-dependencies"]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
CONTAINER = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text(encoding="utf-8"))
CPU_INDEX = "https://download.pytorch.org/whl/cpu"


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile as (instruction, arguments), with continued lines joined and comments dropped."""
    joined = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line.strip())]


def flat(extra: str) -> set[str]:
    """The names of what an extra installs, with the extras that it names."""
    found = set()
    for line in EXTRAS[extra]:
        name = re.match(r"[\w.-]+", line)[0]
        if name == PROJECT["name"]:
            for inner in re.search(r"\[(.*)\]", line)[1].split(","):
                found |= flat(inner)
        else:
            found.add(name)
    return found


def test_the_version_is_one_everywhere() -> None:
    assert PROJECT["version"] == harness.__version__ == str(CITATION["version"])
    assert PROJECT["license"] == CITATION["license"]


def test_keywords_of_the_citation_are_keywords_of_the_package() -> None:
    assert set(CITATION["keywords"]) <= set(PROJECT["keywords"])


def test_every_python_that_is_tested_is_in_the_metadata_and_every_system() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    tested = workflow["jobs"]["run"]["strategy"]["matrix"]["python"]
    classifiers = PROJECT["classifiers"]

    assert [each for each in tested if f"Programming Language :: Python :: {each}" not in classifiers] == []
    assert workflow["jobs"]["run"]["runs-on"].startswith("ubuntu")
    assert [each for each in classifiers if each.startswith("Operating System")] == [
        "Operating System :: POSIX :: Linux"
    ]


def test_all_installs_what_every_other_extra_installs_but_the_tools_of_tests() -> None:
    others = set().union(*(flat(extra) for extra in EXTRAS if extra not in ("all", "dev")))

    assert flat("all") == others | {"datasets"}


def test_every_tracker_is_an_extra_of_its_name_and_no_dependency() -> None:
    assert flat("trackers") == set().union(*(flat(name) for name in TRACKERS))
    base = {re.match(r"[\w.-]+", line)[0] for line in PROJECT["dependencies"]}
    assert base.isdisjoint(flat("all"))


def test_one_library_has_one_range_of_versions() -> None:
    ranges: dict[str, set[str]] = {}
    for line in [*PROJECT["dependencies"], *(line for lines in EXTRAS.values() for line in lines)]:
        ranges.setdefault(re.match(r"[\w.-]+", line)[0], set()).add(line)

    assert {name: lines for name, lines in ranges.items() if len(lines) > 1 and name != PROJECT["name"]} == {}


def test_the_citation_has_the_form_of_its_schema() -> None:
    """What version 1.2.0 of the Citation File Format requires; cffconvert --validate accepts the file too."""
    assert CITATION["cff-version"] == "1.2.0" and CITATION["type"] in ("software", "dataset")
    assert CITATION["message"] and CITATION["title"]
    for work in (CITATION, *CITATION["references"]):
        assert work["authors"] and all({"name"} == set(a) or {"family-names", "given-names"} == set(a)
                                       for a in work["authors"])  # fmt: skip
    (paper,) = CITATION["references"]
    assert {"type", "title", "authors"} <= set(paper) and isinstance(paper["year"], int)
    assert paper["year"] <= date.today().year and paper["url"].startswith("https://")
    assert all(each["type"] in ("doi", "url", "swh", "other") for each in paper["identifiers"])


def test_the_container_is_built_from_instructions_that_there_are() -> None:
    known = {"FROM", "RUN", "COPY", "ENV", "WORKDIR", "USER", "ENTRYPOINT", "CMD"}

    assert {word for word, _ in instructions()} <= known and instructions()[0][0] == "FROM"
    assert dict(instructions())["USER"] not in ("root", "0")
    python = re.search(r"python:(\d\.\d+)", DOCKERFILE)[1]
    assert f"Programming Language :: Python :: {python}" in PROJECT["classifiers"]


def test_torch_in_containers_is_the_build_for_cpus_in_the_versions_of_the_constraints() -> None:
    pinned = re.findall(r"^torch(?:vision)?==", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    installs = [rest for word, rest in instructions() if word == "RUN" and "torch.txt" in rest]

    assert pinned == ["torch==", "torchvision=="]
    for text in (*installs, CONTAINER["onCreateCommand"]):
        assert CPU_INDEX in text and "^torch(vision)?==" in text and "constraints.txt" in text


@pytest.mark.parametrize("line", re.findall(r"^#   docker run .*", DOCKERFILE, re.MULTILINE))
def test_commands_in_the_containers_are_commands(line: str) -> None:
    words = shlex.split(line.lstrip("# "))
    parser().parse_args(words[words.index("obfuscation-harness") + 1 :])

    name, *rest = shlex.split(CONTAINER["postCreateCommand"])
    assert name == "harness"
    parser().parse_args(rest)


def test_what_the_wheel_is_built_from_reaches_the_container_and_nothing_private_does() -> None:
    first, *kept = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    kept = [line.removeprefix("!") for line in kept if line.startswith("!")]
    wheel = SETTINGS["tool"]["hatch"]["build"]["targets"]["wheel"]
    links = [
        str(link.resolve().relative_to(ROOT)) for link in (ROOT / "harness/plugins").iterdir() if link.is_symlink()
    ]
    needed = [*wheel["packages"], *wheel["force-include"], *links, PROJECT["readme"], *PROJECT["license-files"]]

    assert first == "*" and links
    for path in (*needed, "pyproject.toml", "constraints.txt"):
        assert any(path == each or path.startswith(f"{each}/") for each in kept), path
    assert [each for each in kept if not (ROOT / each).exists()] == []
    assert not {"results", ".git", "leaderboards", "tests"} & set(kept)


def test_the_development_container_installs_the_tools_of_the_tests() -> None:
    assert set(CONTAINER) <= {
        "name", "image", "onCreateCommand", "updateContentCommand", "postCreateCommand", "customizations"
    }  # fmt: skip
    assert "pip install -c constraints.txt -e '.[dev]'" in CONTAINER["updateContentCommand"]


@pytest.mark.skipif(not (shutil.which("git") and (ROOT / ".git").exists()), reason="no checkout of git")
def test_no_file_of_the_repository_is_ignored() -> None:
    """The wheel is built of what .gitignore leaves: a folder of the code called like a built one would be missing."""
    command = ["git", "ls-files", "--cached", "--ignored", "--exclude-standard"]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout == ""
