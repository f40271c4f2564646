"""Every block of docs/what-you-can-do.md and of the tutorials does what it says: run, or parsed where it takes long."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from harness.cli import parser
from tests.helpers.blocks import blocks, run, run_in_shell
from tests.helpers.paths import ROOT
from tests.helpers.planted import picture_folder

PAGE = (ROOT / "docs/what-you-can-do.md").read_text(encoding="utf-8")
LONG = re.compile(r"# (hours|minutes)")


TUTORIALS = sorted((ROOT / "docs/tutorials").glob("*.md"))


def long(block: str) -> bool:
    return LONG.match(block) is not None


def commands(block: str) -> list[list[str]]:
    """The words after `harness` of every line that begins with it."""
    lines = block.replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("harness ")]


def test_every_line_has_its_code():
    """Each sentence that ends in a colon is followed by a block, and no block stands without one."""
    text = PAGE.split("\n## ", 1)[1]
    pieces = [piece for piece in re.split(r"\n\n(?=```)|(?<=\n```)\n\n", text) if piece.strip()]
    for sentence, block in zip(pieces[::2], pieces[1::2], strict=True):
        assert sentence.rstrip().endswith(":") and not sentence.startswith("```"), sentence
        assert block.startswith(("```bash", "```python")), block


def test_every_command_of_the_harness_is_on_the_page():
    (subparsers,) = (action for action in parser()._actions if hasattr(action, "choices") and action.choices)
    shown = {words[0] for block in blocks(PAGE, "bash") for words in commands(block)}

    assert shown == set(subparsers.choices)


@pytest.mark.parametrize("block", [block for block in blocks(PAGE, "bash") if long(block)], ids=repr)
def test_a_block_that_takes_long_is_understood_by_the_real_command(block):
    given = [parser().parse_args(words) for words in commands(block)]

    assert given and all(callable(each.command) for each in given)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A reader's folder, with `images` and two pictures in it."""
    place = tmp_path / "reader"
    first, second, *_ = sorted(picture_folder(place / "images", each=16, size=32).glob("*/*.png"))
    shutil.copy(first, place / "a.png")
    shutil.copy(second, place / "b.png")
    return place


@pytest.mark.slow
def test_the_commands_of_the_page_run_in_their_order(folder):
    for block in blocks(PAGE, "bash"):
        if not long(block):
            run_in_shell(block, folder)

    made = {path.name for path in folder.iterdir()}
    assert {"sheet.png", "results", "leaderboards", "report.html", "site", "released", "secret.npz"} <= made
    assert {"challenge", "challenge.secret.npz", "my_scheme.py", "my_scheme.yaml"} <= made


@pytest.mark.slow
@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_the_commands_of_a_tutorial_run_in_their_order(tutorial, folder):
    text = tutorial.read_text(encoding="utf-8")
    for block in blocks(text, "bash"):
        if long(block):
            assert [parser().parse_args(words) for words in commands(block)]
        else:
            printed = run_in_shell(block, folder)
            assert "FAILED" not in printed

    assert (folder / "site/index.html").is_file()
    assert "harness" in text and not blocks(text, "python")


@pytest.mark.slow
def test_the_python_of_the_page_runs_as_one_program(tmp_path):
    printed = run(
        "\n".join([*blocks(PAGE, "python"), "print(len(table), len(mean.dropna()), distance.shape)"]), tmp_path
    )

    assert printed.startswith("shuffle_mix (block=8 weights=0.75,0.25), 2 releases, ")
    assert (tmp_path / "attacks.png").stat().st_size > 10_000
    assert printed.splitlines()[-1] == "2 3 torch.Size([90])"
