"""`experiments/rekey_records.py`: figures stay; the identity is that of the code at hand, or stays of other code."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.records import RunSpec
from harness.records.numbers import digest
from harness.records.store import paths, read
from tests.helpers.paths import ROOT


def rekeyed(folder: Path) -> str:
    """What the script says of a folder, with the code at hand as the code before the change."""
    script = ROOT / "experiments" / "rekey_records.py"
    return subprocess.check_output([sys.executable, str(script), str(ROOT), str(folder)], cwd=ROOT, text=True)


@pytest.fixture
def committed(tmp_path: Path) -> Path:
    """Three records of the baseline, and a page that links to one of them."""
    for file in paths(ROOT / "leaderboards" / "baseline")[:3]:
        shutil.copy(file, tmp_path)
        if file.with_suffix(".npz").is_file():
            shutil.copy(file.with_suffix(".npz"), tmp_path)
    key = paths(tmp_path)[0].stem
    (tmp_path / "page.md").write_text(f"[{key[:6]}](records/{key}.json)\n")
    return tmp_path


def test_records_of_the_code_at_hand_keep_their_names(committed: Path) -> None:
    before = {file.name: file.read_bytes() for file in committed.iterdir()}

    rekeyed(committed)

    assert {file.name: file.read_bytes() for file in committed.iterdir()} == before


def test_a_record_of_other_code_keeps_the_hash_of_that_code(committed: Path) -> None:
    """With the place of its function, as records once had it: that is left out, and links follow the new name."""
    file = paths(committed)[0]
    figures = read(file).arrays
    document = json.loads(file.read_text())
    document["inputs"]["code"] = "0" * 24
    document["inputs"]["defense"]["use"] = "defenses.elsewhere:it"
    document["key"] = RunSpec(document["kind"], document["inputs"]).key
    document["digest"] = digest(document, figures)
    file.unlink()
    file.with_name(f"{document['key']}.json").write_text(json.dumps(document))
    if figures:
        file.with_suffix(".npz").rename(committed / f"{document['key']}.npz")
    (committed / "page.md").write_text(f"[{document['key'][:6]}](records/{document['key']}.json)\n")

    said = rekeyed(committed)

    (changed,) = [record for record in map(read, paths(committed)) if record.inputs["code"] == "0" * 24]
    assert "use" not in changed.inputs["defense"] and changed.arrays.keys() == figures.keys()
    assert (committed / "page.md").read_text() == f"[{changed.spec.key[:6]}](records/{changed.spec.key}.json)\n"
    assert said.startswith("3 records; ")
