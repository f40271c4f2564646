"""What the commands are tried on: striped pictures, planted plugins, an empty folder to work in."""

from __future__ import annotations

import sys

import pytest

from harness.cli import main
from tests.helpers.planted import picture_folder

PLANTED = """
defenses:
  turn:
    use: tests.helpers.planted:turn
    version: 1
    mixing: {weights: [1.0], pairing: permutation, intra_class: false, label: dominant}
    cite: planted
attacks:
  same: {use: "tests.helpers.planted:the_release", version: 1, kind: reconstruction, cite: planted}
  first: {use: "tests.helpers.planted:first_class", version: 1, kind: recognition, cite: planted}
  burst: {use: "tests.helpers.planted:burst", version: 1, kind: reconstruction, cite: planted}
  stop: {use: "tests.helpers.planted:stop", version: 1, kind: reconstruction, cite: planted}
  keyed: {use: "tests.helpers.planted:wants_a_key", version: 1, kind: reconstruction, cite: planted}
  spread: {use: "tests.helpers.planted:three_candidates", version: 1, kind: reconstruction, cite: planted}
"""


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    return picture_folder(tmp_path_factory.mktemp("data") / "stripes")


@pytest.fixture(autouse=True)
def place(tmp_path, cache, monkeypatch):
    """An empty folder to work in, a cache of our own, and sys.path as it was."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setattr(sys, "path", list(sys.path))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


@pytest.fixture
def registry(tmp_path):
    file = tmp_path / "planted_entries.yaml"
    file.write_text(PLANTED)
    return str(file)


@pytest.fixture
def run(pictures, registry, capsys):
    """run("--defense", "mix", ...) -> exit code, stdout, stderr; on the stripes, one thread."""

    def call(*arguments, data=pictures):
        code = main(["run", "--dataset", str(data), "--registry", registry, "--threads", "1", *map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture
def harness(capsys):
    def call(*arguments):
        code = main([*map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call
