"""harness.system.schema: documents as typed Structs, and one line for each fault."""

import subprocess
import sys
from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta, Struct

from harness.errors import HarnessError
from harness.system.schema import decode, shown


class Row(Struct, forbid_unknown_fields=True):
    defense: Annotated[str, Meta(max_length=10)]
    epochs: Annotated[int, Meta(ge=1, le=1000)] | None = None
    size: Annotated[int, Meta(le=9)] = 0
    dssim: Annotated[float, Meta(ge=0, le=1)] = 0.0
    label: Literal["dominant", "soft"] = "dominant"
    code: Annotated[str, Meta(pattern="^[a-z]+$", description="letters from a to z")] = "a"


class Paper(Struct, forbid_unknown_fields=True):
    rows: Annotated[list[Row], Meta(max_length=4)]
    named: dict[str, Row] = {}


def test_a_sound_document_becomes_the_struct():
    read = decode({"rows": [{"defense": "mix", "dssim": 1}]}, Paper, "f.yaml")
    assert read.rows[0].dssim == 1.0
    assert isinstance(read.rows[0].dssim, float)


@pytest.mark.parametrize(
    "document, said",
    [
        ([], "f.yaml: expected a table, got []; correct it"),
        (None, "f.yaml: expected a table, got nothing; correct it"),
        ({}, "f.yaml: rows is missing; add it"),
        ({"rows": 3}, "f.yaml: rows: expected a list, got 3; correct it"),
        ({"rows": [{"defense": "mix"}, {"defense": 3}]}, "f.yaml: rows.#2.defense: expected text, got 3; correct it"),
        ({"rows": [{}]}, "f.yaml: rows.#1: defense is missing; add it"),
        (
            {"rows": [{"defense": "mix", "epochs": 0}]},
            "f.yaml: rows.#1.epochs: expected a whole number, 1 or more, got 0; correct it",
        ),
        (
            {"rows": [{"defense": "mix", "epochs": 1.5}]},
            "f.yaml: rows.#1.epochs: expected a whole number or nothing, got 1.5; correct it",
        ),
        (
            {"rows": [{"defense": "mix", "epochs": True}]},
            "f.yaml: rows.#1.epochs: expected a whole number or nothing, got true; correct it",
        ),
        (
            {"rows": [{"defense": "mix", "size": 10**400}]},
            "f.yaml: rows.#1.size: expected a whole number, 9 or less, got a number of about 400 digits; correct it",
        ),
        (
            {"rows": [{"defense": "mix", "label": "hard"}]},
            "f.yaml: rows.#1.label: expected dominant or soft, got 'hard'; correct it",
        ),
        (
            {"rows": [{"defense": "mix", "code": "A1"}]},
            "f.yaml: rows.#1.code: expected letters from a to z, got 'A1'; correct it",
        ),
        (
            {"rows": [{"defense": "mix", "dsim": 1}]},
            "f.yaml: rows.#1: no field 'dsim'; did you mean 'dssim'? "
            "(fields: defense, epochs, size, dssim, label, code)",
        ),
        (
            {"rows": [{"defense": "mix"}] * 5},
            "f.yaml: rows: expected a list of length 4 or less, got "
            "[{defense: 'mix'}, {defense: 'mix'}, {defense: 'mix'}, {d...; correct it",
        ),
        (
            {"rows": [], "named": {"a": {"defense": "x"}, "b": {"defense": "x" * 99}, "c": {"defense": 1}}},
            "f.yaml: named.b.defense: expected text of length 10 or less, got '" + "x" * 56 + "...; correct it",
        ),
        ({"rows": [], "named": {"a\n`.[0]": {}}}, "f.yaml: named.'a\\n`.[0]': defense is missing; add it"),
        ({"rows": [], "named": {3: {"defense": "x"}}}, "f.yaml: named: the name 3 is no text; quote it"),
    ],
)
def test_each_fault_is_one_line_with_its_place_and_its_value(document, said):
    with pytest.raises(HarnessError) as caught:
        decode(document, Paper, "f.yaml")
    assert str(caught.value) == said


def test_the_fix_is_the_callers():
    with pytest.raises(HarnessError, match="got 1; write a list"):
        decode({"rows": 1}, Paper, "f.yaml", fix="write a list")


def test_a_value_that_explodes_when_written_out_is_shown_in_a_few_letters():
    laughs: Any = "x"
    for _ in range(60):
        laughs = [laughs] * 9
    assert len(shown(laughs)) <= 60
    assert len(shown({"a": laughs})) <= 60


def test_a_value_is_shown_on_one_line_without_control_characters():
    assert shown("a\nb\x1b[31m\u202e") == "'a\\nb\\x1b[31m\\u202e'"


def test_the_command_line_does_not_import_msgspec():
    code = "import sys, harness.cli, harness.system.schema; sys.exit('msgspec' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
