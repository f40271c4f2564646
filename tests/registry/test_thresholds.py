"""The section `thresholds` of a registry file: read beside plugins, and refused in one sentence."""

from __future__ import annotations

import pytest

from harness.errors import HarnessError
from harness.registry import load_registry

ENTRY = "{dataset: pictures, height: 64, width: 64, dssim: 0.61, source: 24 people}"


def layer(folder, text, name="mine.yaml"):
    (folder / name).write_text(text)
    return folder / name


def test_an_entry_is_read_and_no_plugin_depends_on_it(tmp_path):
    found = load_registry([layer(tmp_path, f"thresholds:\n  of_pictures: {ENTRY}\n")])
    (entry,) = found.thresholds

    assert entry.images == ("pictures", 64, 64) and entry.values == {"dssim": 0.61}
    assert (entry.name, entry.source, entry.origin) == ("of_pictures", "24 people", "mine.yaml")
    assert found.entries == load_registry().entries and load_registry().thresholds == ()


def test_an_empty_section_holds_nothing(tmp_path):
    assert load_registry([layer(tmp_path, "thresholds:\n")]).thresholds == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("thresholds: [1]", "thresholds is [1]; expected a table"),
        ("thresholds: {a: 1}", "thresholds.a: expected a table"),
        ("thresholds: {'a b': {}}", "thresholds.'a b': not a name"),
        ("thresholds: {a: {dataset: x, height: 1, width: 1, source: y}}", "holds no threshold; give at least one of d"),
        ("thresholds: {a: {dataset: x, height: 1, width: 1, source: y, dssim: 0}}", "dssim: expected a number"),
        ("thresholds: {a: {dataset: x, height: 1, width: 1, source: y, dhaar: 1.5}}", "dhaar: expected a number"),
        ("thresholds: {a: {dataset: x, height: 1, width: 1, source: y, mse: 900}}", "no field 'mse'"),
        ("thresholds: {a: {dataset: x, width: 1, source: y, dssim: 0.5}}", "height is missing"),
        ("thresholds: {a: {dataset: x, height: 1, width: 1, dssim: 0.5}}", "source is missing"),
        ("threshold: {}", "no section 'threshold'; did you mean 'thresholds'?"),
        (
            f"thresholds: {{a: {ENTRY}, b: {ENTRY}}}",
            "(64x64) are given twice, by 'a' of mine.yaml and 'b' of mine.yaml",
        ),
    ],
)
def test_another_section_is_refused(tmp_path, text, said):
    with pytest.raises(HarnessError) as refused:
        load_registry([layer(tmp_path, text)])

    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_two_files_of_the_same_images_are_refused(tmp_path):
    files = [layer(tmp_path, f"thresholds: {{a: {ENTRY}}}", name) for name in ("one.yaml", "two.yaml")]

    with pytest.raises(HarnessError, match=r"by 'a' of one\.yaml and 'a' of two\.yaml; keep one"):
        load_registry(files)
