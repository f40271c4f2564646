"""The Python in README and docs/usage.md runs as it stands there, and so does the example in examples/."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
import torch

from harness.cli import main
from harness.registry.own_networks import find_network
from harness.train import own
from tests.helpers.blocks import python_blocks, run
from tests.helpers.paths import ROOT


@pytest.mark.slow
def test_the_lines_of_the_readme_give_a_verdict_in_at_most_twenty_lines(tmp_path):
    (program,) = python_blocks("README.md", "Your own scheme, in your own training loop")
    lines = [line for line in program.splitlines() if line.strip()]
    stated = re.search(r"to a verdict in (\d+) lines", (ROOT / "README.md").read_text(encoding="utf-8"))

    printed = run(program, tmp_path)

    assert stated and len(lines) == int(stated[1]) <= 20
    first, *_ = " ".join(printed.split()).split(" Not judged:")
    assert first == "posterize (levels=4 weights=0.75,0.25), 3 epochs, 3 releases, 100 originals, 1 seed"
    assert "utility " in printed and "It fails whatever is missing" in " ".join(printed.split())


@pytest.mark.slow
def test_the_python_of_the_usage_page_runs_as_one_program(tmp_path):
    printed = run("\n".join(python_blocks("docs/usage.md", "Python")), tmp_path)

    assert printed.startswith("shuffle_mix (block=8 weights=0.75,0.25), 2 releases, ")
    assert (tmp_path / "attacks.png").stat().st_size > 10_000
    assert len(list((tmp_path / "results").glob("*.json"))) > 8


def test_the_scheme_of_the_usage_page_passes_the_contract(tmp_path, capsys):
    (program,) = python_blocks("docs/usage.md", "A scheme of your own")
    text = (ROOT / "docs/usage.md").read_text(encoding="utf-8")
    (tmp_path / "posterize.py").write_text(program)
    (tmp_path / "posterize.yaml").write_text(re.findall(r"^```yaml\n(defenses:.*?)^```$", text, re.M | re.S)[0])

    assert main(["validate", "posterize", "--registry", str(tmp_path / "posterize.yaml")]) == 0, capsys.readouterr()


def test_the_network_of_the_usage_page_is_one(tmp_path, monkeypatch):
    (program,) = python_blocks("docs/usage.md", "A network of your own")
    (tmp_path / "mynets.py").write_text(program)
    monkeypatch.chdir(tmp_path)

    network = find_network("mynets:small", None, ())

    assert network is not None and own.build(network, 7, (32, 48))(torch.zeros(2, 3, 32, 48)).shape == (2, 7)


@pytest.mark.slow
def test_the_example_trains_on_obfuscated_batches(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [sys.executable, str(ROOT / "examples/train_with_obfuscation.py"), "--epochs", "3", "--workers", "1"]

    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500, check=False)

    assert ran.returncode == 0, ran.stderr
    plain, obfuscated, chance = (float(line.split()[-1]) for line in ran.stdout.splitlines())
    assert ran.stdout.splitlines()[1].startswith("Obfuscate(shuffle_mix, block=8")
    assert plain > obfuscated > 2 * chance
