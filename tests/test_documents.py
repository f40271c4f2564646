"""What the documents promise is there."""

import re
import shlex

import pytest

from harness.cli import parser
from tests.helpers.paths import ROOT

PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")


def commands(page: str) -> list[str]:
    """The lines of the page's blocks that call harness, without comments in the right margin."""
    lines = re.findall(r"^(?: {4})?(?:pip install -e \. && )?(harness .*)$", (ROOT / page).read_text(), re.MULTILINE)
    return [re.split(r"\s{3,}|\s#", line)[0].strip() for line in lines]


@pytest.mark.parametrize("page", PAGES)
def test_no_placeholder_is_left(page: str) -> None:
    assert not re.search(r"@@|TODO|FIXME", (ROOT / page).read_text())


@pytest.mark.parametrize("line", [line for page in PAGES for line in commands(page) if "..." not in line])
def test_every_command_in_the_documents_is_one(line: str) -> None:
    """argparse takes it: a renamed option would be refused."""
    parser().parse_args(shlex.split(line)[1:])


def test_the_readme_prints_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text()

    assert "pip install -e . && harness run --defense shuffle_mix --attack cnn" in text
    assert 'pip install -e ".[dev]" && pytest' in text


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_the_documents_leads_to_a_file(page: str) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / page).read_text())

    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []
