"""Give records the identity that they have under today's code, after a change that moves no figure.

    python experiments/rekey_records.py BEFORE leaderboards

BEFORE is a checkout of the code that the change started from. A record that its code would make as it stands gets the
code hash of today's code; any other keeps the hash of the code that made it, and stays what it was: a record of other
code. Figures, arrays and dates stay. Files that link to records (Markdown, CSV, JSON beside them) are rewritten.

That the change moves no figure must be shown apart from this, by running pieces with both codes and comparing arrays.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.records import RunSpec
from harness.records.numbers import digest
from harness.records.provenance import CodeAtHand
from harness.records.store import paths, read
from harness.registry import load_registry

KEY = re.compile(r"\b[0-9a-f]{24}\b")
SHORT = re.compile(r"\[[0-9a-f]{6}\](?=\([^)]*?([0-9a-f]{6})[0-9a-f]{18}\.json\))")
OLD = """
import json, sys
from pathlib import Path

try:
    from harness.records.provenance import CodeAtHand
    from harness.records.store import read
    from harness.registry import load_registry
    code = CodeAtHand(load_registry())
    made = lambda record: (code.made_release(record), code.made(record))
except ImportError:  # up to version 0.1.0
    from harness import provenance
    from harness.records import read
    from harness.registry import Entry, load_registry
    PARTS = (("defenses", "defense"), ("metrics", "distortion"), ("attacks", "attack"), ("metrics", "metrics"),
             ("evaluators", "judges"), ("evaluators", "utility"))
    registry = load_registry()

    def entries(record, parts):
        for section, part in parts:
            held = record.inputs.get(part) or []
            for named in [held] if isinstance(held, dict) else held:
                entry = Entry(named["name"], section, named["use"], named["version"])
                now = {**registry.section("metrics"), **registry.section(section)}.get(named["name"])
                if now is not None and (now.use, now.version) != (entry.use, entry.version):
                    raise LookupError
                yield entry

    def made(record):
        try:
            release = provenance.code("release", list(entries(record, PARTS[:2]))) == record.inputs.get("release")
            return release, provenance.code(record.spec.kind, list(entries(record, PARTS))) == record.inputs["code"]
        except LookupError:
            return False, False

print(json.dumps({path: made(read(Path(path))) for path in json.load(sys.stdin)}))
"""


def made_by(before: Path, files: list[Path]) -> dict[str, list[bool]]:
    """Of every record, whether the release and the figures are those of the code in `before`."""
    environment = {**os.environ, "PYTHONPATH": str(before)}
    asked = json.dumps([str(file.resolve()) for file in files])
    command = [sys.executable, "-c", OLD]
    done = subprocess.run(
        command, cwd=before, env=environment, input=asked, stdout=subprocess.PIPE, text=True, check=True
    )
    found: dict[str, list[bool]] = json.loads(done.stdout)
    return found


def without_places(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Inputs without the places of functions, which once were a part of an entry."""

    def bare(value: Any) -> Any:
        if isinstance(value, list):
            return [bare(each) for each in value]
        if isinstance(value, Mapping) and {"name", "use", "params"} <= set(value):
            return {name: each for name, each in value.items() if name != "use"}
        return value

    return {name: bare(value) for name, value in inputs.items()}


def rekey(file: Path, code: CodeAtHand, made: tuple[bool, bool]) -> tuple[str, str]:
    """Write the record under its new name; the old and the new name."""
    record, document = read(file), json.loads(file.read_text())
    inputs = without_places(document["inputs"])
    for name, valid, expected in (("release", made[0], code.release_code), ("code", made[1], code.code)):
        today = expected(record) if valid else None
        if today:
            inputs[name] = today
    by_name = RunSpec(document["kind"], document["inputs"], by_name=True).key == document["key"]  # an older record
    key = RunSpec(document["kind"], inputs, by_name).key
    document |= {"key": key, "inputs": inputs}
    document["digest"] = digest(document, record.arrays)
    file.unlink()
    arrays = file.with_suffix(".npz")
    if arrays.is_file():
        arrays.rename(file.with_name(f"{key}.npz"))
    file.with_name(f"{key}.json").write_text(json.dumps(document, indent=1, allow_nan=False) + "\n")
    return file.stem, key


def relink(file: Path, names: Mapping[str, str]) -> None:
    """Put the new names of records where the old ones stand."""
    text = file.read_text()
    changed = KEY.sub(lambda key: names.get(key[0], key[0]), text)
    changed = SHORT.sub(lambda link: f"[{link[1]}]", changed)
    if changed != text:
        file.write_text(changed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    folders = {path.parent for path in given.folder.rglob("*.json")}
    files = [file for folder in sorted(folders) for file in paths(folder)]
    made, code = made_by(given.before.resolve(), files), CodeAtHand(load_registry())
    names = dict(rekey(file, code, tuple(made[str(file.resolve())])) for file in files)  # type: ignore[arg-type]
    for file in sorted(given.folder.rglob("*")):
        if file.suffix in (".md", ".csv", ".json") and not re.fullmatch(r"[0-9a-f]{24}", file.stem):
            relink(file, names)
    valid = sum(all(each) for each in made.values())
    print(f"{len(names)} records; {valid} are of the code in {given.before}, {len(names) - valid} of other code")


if __name__ == "__main__":
    main()
