"""What a record is named by: a plugin that moves keeps its records, one whose figures may change does not."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.cli import main
from harness.records import Records, definitions

PLUGIN = """
from fadehelper import half

STRENGTH = 1.0

def fade(sources, weights, rng, *, block=2):
    return half(sources[:, 0]) * STRENGTH
"""
HELPER = "def half(images):\n    return images / 2\n"
REGISTRY = """
defenses:
  fade:
    use: {use}
    version: 1
    params: {{block: 2}}
    mixing: {{weights: [0.5, 0.5], pairing: permutation, intra_class: false, label: dominant}}
    cite: planted
"""


@pytest.fixture
def scheme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., set[str]]]:
    """Writes a defense, runs it with `smooth`; the names of all records so far."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    rng = np.random.default_rng(0)
    for at in range(24):
        folder = tmp_path / "set" / f"class{at % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).save(folder / f"{at}.png")

    def run(use: str = "fadeplugin:fade", **files: str) -> set[str]:
        for name in [name for name in sys.modules if name.startswith("fade")]:
            del sys.modules[name]
        for name, text in {"fadeplugin": PLUGIN, "fadehelper": HELPER, **files}.items():
            (tmp_path / f"{name}.py").write_text(text)
        (tmp_path / "mine.yaml").write_text(REGISTRY.format(use=use))
        asked = ["run", "--defense", "fade", "--attack", "smooth", "--dataset", "set", "--no-utility", "--workers", "1"]
        assert main([*asked, "--registry", "mine.yaml", "--epochs", "1", "--records", "made"]) == 0
        return {record.spec.key for record in Records(tmp_path / "made").all()}

    yield run
    definitions.forget()


def test_moving_a_plugin_makes_no_record_stale(scheme: Callable[..., set[str]]) -> None:
    """To another module, with its helper moved into it."""
    merged = "def half(images):\n    return images / 2\n" + PLUGIN.replace("from fadehelper import half\n", "")

    assert scheme("fadeelsewhere:fade", fadeelsewhere=merged) == scheme()


@pytest.mark.parametrize(
    "edit",
    [
        {"fadehelper": HELPER.replace("/ 2", "/ 3")},
        {"fadeplugin": PLUGIN.replace("STRENGTH = 1.0", "STRENGTH = 0.5")},
        {"fadeplugin": PLUGIN.replace("block=2", "block=3")},
    ],
    ids=["arithmetic", "a constant", "a default argument"],
)
def test_an_edit_that_may_change_figures_makes_new_records(
    scheme: Callable[..., set[str]], edit: dict[str, str]
) -> None:
    before = scheme()

    assert before < scheme(**edit)


def test_a_board_says_what_it_leaves_out_after_an_edit(
    scheme: Callable[..., set[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    scheme()
    scheme(fadehelper=HELPER.replace("/ 2", "/ 3"))
    capsys.readouterr()

    assert main(["rank", "--records", "made", "--out", "tables", "--registry", "mine.yaml"]) == 0

    said = " ".join(capsys.readouterr().out.split())
    assert "2 records left out: on releases of other code" in said
    assert "2 records left out: on releases of other code" in Path("tables/set.md").read_text()


def test_a_board_says_that_it_shows_records_of_other_code(
    scheme: Callable[..., set[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The plugin was edited and nothing was run again."""
    scheme()
    (tmp_path / "fadehelper.py").write_text(HELPER.replace("/ 2", "/ 3"))
    definitions.forget()
    capsys.readouterr()

    assert main(["rank", "--records", "made", "--out", "tables", "--registry", "mine.yaml"]) == 0

    assert "recorded by other code" in " ".join(capsys.readouterr().out.split())
