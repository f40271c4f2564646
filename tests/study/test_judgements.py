"""Judgements are read as they were written, and anything else is refused in one sentence."""

from __future__ import annotations

import json

import pytest

from harness.errors import HarnessError
from harness.study.judgements import Judgement, Judgements, Pair, read, write

PAIRS = [Pair("q01", 0, "mix", {"dssim": 0.5, "fid": None}), Pair("q01", 1, "mix", {"dssim": 0.7, "fid": None})]
SAID = [Judgement("q01", 0, "ann", "person", True), Judgement("q01", 1, "ann", "person", False)]
WHOLE = Judgements({"name": "pictures", "height": 64}, PAIRS, SAID)


def test_what_was_written_is_read(tmp_path):
    write(WHOLE, tmp_path / "judgements.json")
    assert read(tmp_path / "judgements.json") == WHOLE


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d["pairs"].append(d["pairs"][0]), "a pair of image and source stands twice"),
        (lambda d: d["judgements"].append(d["judgements"][0]), "'ann' judged image 'q01', source 0 twice"),
        (lambda d: d["judgements"][0].update(image="q99"), "image 'q99', source 0, which is no pair of it"),
        (lambda d: d["judgements"][0].update(recognised="yes"), "recognised"),
        (lambda d: d["pairs"][0]["metrics"].update(dssim="high"), "dssim"),
        (lambda d: d.update(form=2), "form"),
        (lambda d: d.pop("pairs"), "pairs"),
    ],
)
def test_another_document_is_refused(tmp_path, change, said):
    file = tmp_path / "judgements.json"
    write(WHOLE, file)
    document = json.loads(file.read_text())
    change(document)
    file.write_text(json.dumps(document))
    with pytest.raises(HarnessError, match=said) as refused:
        read(file)
    assert str(file) in str(refused.value) and "\n" not in str(refused.value)
