"""The documents: their commands parse, their links lead to files and headings, README is one page."""

import re
import shlex
from pathlib import Path

import pytest

from harness.cli import parser
from tests.helpers.paths import ROOT

DOCS = sorted(f"docs/{page.name}" for page in ROOT.glob("docs/*.md"))
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", *DOCS)


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def commands(page: str) -> list[str]:
    """The lines of the page's blocks that call harness, without comments in the right margin and redirections."""
    whole = re.sub(r"\s*\\\n\s*", " ", read(page))  # a command on several lines
    lines = re.findall(r"^(?: {4})?(?:pip install -e \. && )?(harness .*)$", whole, re.MULTILINE)
    return [re.split(r"\s{3,}|\s[#>]", line)[0].strip() for line in lines]


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub writes them in links: lower case, punctuation dropped, hyphens for spaces."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_no_placeholder_is_left(page: str) -> None:
    assert not re.search(r"@@|TODO|FIXME", read(page))


@pytest.mark.parametrize("line", [line for page in PAGES for line in commands(page) if "..." not in line])
def test_every_command_in_the_documents_is_one(line: str) -> None:
    """argparse takes it: a renamed option would be refused."""
    parser().parse_args(shlex.split(line)[1:])


def test_the_readme_prints_the_two_commands() -> None:
    text = read("README.md")

    assert "pip install -e . && harness run --defense shuffle_mix --attack cnn" in text
    assert 'pip install -e ".[dev]" && pytest' in text


def test_the_readme_is_one_page() -> None:
    assert len(read("README.md").splitlines()) <= 120


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_the_documents_leads_to_a_file_and_a_heading(page: str) -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", read(page)) if "://" not in link]

    for link in links:
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), f"{page}: {link} leads to no file"
        assert not anchor or anchor in anchors(target), f"{page}: {target.name} has no heading for #{anchor}"


def test_every_page_of_docs_is_linked_from_the_readme() -> None:
    assert set(DOCS) <= set(re.findall(r"\]\(([^)#]+)", read("README.md")))
