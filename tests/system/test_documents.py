"""harness.system.documents: YAML and JSON of other people, in bounded memory, and nothing read in two ways."""

from __future__ import annotations

import json
import os
import re
import time
import tracemalloc
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import HarnessError
from harness.system import documents
from harness.system.documents import JSON_BYTES, parse_json, parse_yaml, read_bytes, read_json, read_yaml
from tests.helpers.paths import ROOT


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 10", 10),
        ("a: -0.5", -0.5),
        ("a: +5", 5),
        ("a: .5", 0.5),
        ("a: 1e-3", 0.001),
        ("a: 1e3", 1000.0),
        ("a: 1.5E+2", 150.0),
        ("a: 999999999999999999", 999999999999999999),
        ("a: true", True),
        ("a: FALSE", False),
        ("a: null", None),
        ("a: ~", None),
        ("a:", None),
        ("a: '010'", "010"),
        ('a: "no"', "no"),
        ("a: !!str 010", "010"),
        ("a: |\n  010\n", "010\n"),
        ("a: 1.2.3", "1.2.3"),
        ("a: 10:99", "10:99"),
        ("a: ２", "２"),
        ("a: y", "y"),
        ("a: nowhere", "nowhere"),
        ("a: -", [None]),
        ("a: nan", "nan"),
        ("a: [1, {b: c}]", [1, {"b": "c"}]),
        ("a: &x [1, 2]\nb: 1", [1, 2]),
    ],
)
def test_a_value_is_what_every_reader_takes_it_for(text, value):
    read = parse_yaml(text, "f")["a"] if text != "a: -" else parse_yaml("a:\n  -", "f")["a"]
    assert read == value and type(read) is type(value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 010", "010 is in base 8 to some readers of YAML; write 10, or quote it"),
        ("a: -08", "-08 is in base 8 to some readers of YAML; write -8, or quote it"),
        ("a: -.5", "-.5 is text to some readers of YAML; write -0.5, or quote it"),
        ("a: 00", "write 0"),
        ("a: 0o17", "write it in base 10"),
        ("a: 0x1F", "write it in base 10"),
        ("a: 0b11", "write it in base 10"),
        ("a: 1_000", "write 1000"),
        ("a: 1_000.5", "write 1000.5"),
        ("a: 1:30", "1:30 is in base 60"),
        ("a: 1:30:00.5", "in base 60"),
        ("a: no", "no is false or text; write false, or quote it"),
        ("a: [yes]", "write true"),
        ("a: Off", "write false"),
        ("on: 1", "on is true or text"),
        ("a: 2020-13-45", "2020-13-45 is a date to some readers of YAML; quote it"),
        ("a: 2020-01-01T10:00:00Z", "is a date"),
        ("a: .inf", "no finite number"),
        ("a: -.Inf", "no finite number"),
        ("a: .nan", "no finite number"),
        ("a: 1e999", "1e999 is no finite number"),
        ("a: 1" + "0" * 400, "a number of 401 letters"),
        ("a: 1" + "0" * 30, "a whole number of 31 digits"),
        ("{weights: 0.5,0.5}", "0.5 as a name; names are text: quote it"),
        ("1: 2", "1 as a name"),
        ("null: 2", "nothing as a name"),
        ("? [a]\n: b", "line 1: a list as a name"),
        ("a: 1\na: 2", "line 2: 'a' is written twice"),
        ("a: 1\n'a': 2", "'a' is written twice"),
        ("a: !!python/object/apply:os.system [x]", "is not read; remove it"),
        ("a: !!int 5", "is not read; remove it"),
        ("a: *x", "alias *x names nothing"),
        ("a: &x [*x]", "alias *x names nothing"),
        ("<<: 3", "<< merges tables"),
        ("a: 1\n---\na: 2", "a second document"),
        ("a: [", "not YAML"),
        ("\0", "not YAML"),
        ("a: b: c", "not YAML"),
    ],
)
def test_what_readers_take_differently_is_refused_with_its_line_and_the_fix(text, said):
    with pytest.raises(HarnessError) as caught:
        parse_yaml(text, "mine.yaml")
    assert said in str(caught.value) and "\n" not in str(caught.value)
    assert str(caught.value).startswith("mine.yaml:")


def laughs(width: int, levels: int) -> str:
    lines = [f"l0: &l0 [{', '.join('x' * width)}]"]
    lines += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * width)}]" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [
        laughs(9, 9),
        "a: &a {" + ", ".join(f"k{n}: 1" for n in range(900)) + "}\nb: [" + ", ".join(["*a"] * 200) + "]",
        "[" * 50_000,
        "{a: " * 50_000,
        "- " * 50_000,
        "\n".join("  " * n + "a:" for n in range(500)),
        "[" + "1," * 200_000 + "]",
        "a: " + "9" * 900_000,
        "? " * 50_000,
    ],
    ids=lambda text: text[:12],
)
def test_what_explodes_is_refused_at_once(text):
    start = time.process_time()
    with pytest.raises(HarnessError):
        parse_yaml(text, "f")
    assert time.process_time() - start < 5


def test_aliases_and_merged_tables_are_read_as_pyyaml_reads_them():
    text = "base: &b {x: 1, y: 2}\none: {<<: *b, y: 3}\ntwo: {z: 0, <<: [{x: 9}, *b]}\nthree: [*b, *b]\n'<<': text"
    assert parse_yaml(text, "f") == {**yaml.safe_load(text.rpartition("\n")[0]), "<<": "text"}


@pytest.mark.parametrize("name", ["registry.yaml", "experiments/ci.yaml", "leaderboards/reported.yaml"])
def test_the_projects_own_files_are_read_as_by_pyyaml(name):
    assert repr(read_yaml(ROOT / name)) == repr(yaml.safe_load((ROOT / name).read_text(encoding="utf-8")))


def is_read_alike(text):
    """Not as -.5, which PyYAML writes and reads as text, and YAML 1.2 as a number: that is refused."""
    return not re.fullmatch(r"[-+]\.[0-9]+([eE][-+]?[0-9]+)?", text)


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_characters="\x85\u2028\u2029"), max_size=20).filter(is_read_alike),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.text("abcno01:.-_", max_size=6).filter(is_read_alike), inner, max_size=4
    ),
    max_leaves=12,
)  # fmt: skip


@given(plain)
@settings(max_examples=200, deadline=None)
def test_what_pyyaml_and_json_write_is_read_back(content):
    assert parse_json(json.dumps(content), "f") == content
    assert parse_yaml(yaml.safe_dump(content, allow_unicode=True), "f") == content


@given(st.text(max_size=60) | st.text("[]{}&*a:-,?!'\"|>\n 01.e_<#%@", max_size=80))
@settings(max_examples=400, deadline=None)
def test_any_text_is_read_or_refused_in_one_line(text):
    for parse in (parse_yaml, parse_json):
        try:
            parse(text, "f")
        except HarnessError as refused:
            assert "\n" not in str(refused)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1, "a": 2}', "'a' is written twice"),
        ("[NaN]", "NaN is no number"),
        ("[-Infinity]", "is no number"),
        ("[1e999]", "no finite number"),
        ("[" * 100_000, "nested more than 32 deep"),
        ("[" * 33 + "1" + "]" * 33, "nested more than 32 deep"),
        ("9" * 5000, "a whole number of 5000 digits"),
        ('"\\ud800"', "no Unicode"),
        ('{"\\udfff": 1}', "no Unicode"),
        ("", "not JSON"),
        ('{"a": 1', "line 1: not JSON"),
        (b"\xff", "byte 1 is not UTF-8"),
    ],
)
def test_json_that_python_reads_generously_is_refused(text, said):
    with pytest.raises(HarnessError) as caught:
        parse_json(text, "r.json")
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["[]", "{}", '{"a":1}', "[[[[]]]]", "0.5", '"ab"'])
@pytest.mark.parametrize("kind", [str, str.encode, lambda text: text.encode("utf-16")])
def test_json_of_millions_of_values_is_refused_in_the_memory_of_its_text(value, kind):
    data = kind("[" + ",".join([value] * (JSON_BYTES // (len(value) + 1))) + "]")

    tracemalloc.start()
    try:
        with pytest.raises(HarnessError, match=r"^r\.json: holds about [0-9,]+ values; at most 2,000,000 are read$"):
            parse_json(data, "r.json")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 2**20, f"{peak:,}"


def test_json_of_as_many_values_as_are_allowed_is_read():
    assert len(parse_json("[" + ",".join("0" * 100) + "]", "f", values=100)) == 100
    with pytest.raises(HarnessError, match="about 101 values"):
        parse_json("[" + ",".join("0" * 101) + "]", "f", values=100)


def test_files_are_bounded_and_regular(tmp_path, monkeypatch):
    monkeypatch.setattr(documents, "YAML_BYTES", 10)
    (tmp_path / "long.yaml").write_text("a: " + "x" * 100)
    with pytest.raises(HarnessError, match=r"long\.yaml: more than 10 bytes; a sweep file is smaller"):
        read_yaml(tmp_path / "long.yaml", "sweep file")
    with pytest.raises(HarnessError, match="no such file"):
        read_json(tmp_path / "gone.json")
    with pytest.raises(HarnessError, match="it is a folder"):
        read_json(tmp_path)
    with pytest.raises(HarnessError, match="cannot be read"):
        read_bytes(Path("a\0b"), 10)
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(HarnessError, match="no regular file"):
            read_yaml(path)


def test_bytes_that_are_not_utf_8_are_named(tmp_path):
    (tmp_path / "f.yaml").write_bytes("a: é".encode("latin-1"))
    with pytest.raises(HarnessError, match="byte 4 is not UTF-8"):
        read_yaml(tmp_path / "f.yaml")
    (tmp_path / "f.yaml").write_bytes(b"\xef\xbb\xbfa: 1")
    assert read_yaml(tmp_path / "f.yaml") == {"a": 1}
