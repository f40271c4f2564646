"""A survey's images are those of the harness's defenses; its page holds no answer, its key holds all and is private."""

from __future__ import annotations

import base64
import io
import json
import re
import stat

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import uniform_filter

from harness.errors import HarnessError
from harness.registry import load_registry
from harness.study import key as keys
from harness.study.html.page import render
from harness.study.make import check_places, make, write
from tests.helpers.surveys import CLASSES, REQUEST, splits, survey

PICTURE = re.compile(r'<img src="data:image/png;base64,([A-Za-z0-9+/=]+)"')


@pytest.fixture(scope="module")
def page():
    return render(survey().key, survey().photos)


def decoded(text):
    with Image.open(io.BytesIO(base64.b64decode(text))) as image:
        assert not image.info and image.format == "PNG"  # pixels and nothing else
        return np.asarray(image).transpose(2, 0, 1)


# What is asked


def test_every_source_is_a_private_image_of_its_class_and_the_reference_photos_are_in_no_question():
    private = splits().private
    by_pixels = {picture.tobytes(): row for row, picture in enumerate(private.images)}
    photos = [by_pixels[photo.tobytes()] for photo in survey().photos]
    assert list(private.labels[photos]) == [0, 1, 2, 3]

    asked = survey().key.questions
    assert len(asked) == 49 and [question.id for question in asked] == [f"q{number:02}" for number in range(1, 50)]
    for question in asked:
        rows = [by_pixels[source.tobytes()] for source in question.sources]
        assert tuple(private.labels[rows]) == question.classes
        assert tuple(private.names[row] for row in rows) == question.names
        assert not set(rows) & set(photos)


def test_no_image_is_used_twice_where_there_are_enough():
    made = make(splits(images=80), REQUEST, load_registry(), 3, paper_knobs=False)
    names = [name for question in made.key.questions for name in question.names]
    assert made.reused == 0 and len(set(names)) == 105

    few = survey()  # 5 images of a class are asked about, 20 of all
    assert few.reused == 105 - len({name for question in few.key.questions for name in question.names}) == 85


def mixed(question):
    return sum(share * source.astype(float) for share, source in zip(question.weights, question.sources, strict=True))


def test_released_images_are_those_of_the_paper_s_formulas():
    """Against NumPy: mixtures and pixelizing exactly, blocks by their sums, noise and grafting by their size."""
    for question in survey().key.questions:
        image, mean = question.image.astype(float), mixed(question)
        if question.technique in ("mix", "mix3"):
            assert np.abs(image - mean).max() <= 0.5001
        elif question.technique == "shuffle_mix":
            side = question.params["block"]
            sums = [x.reshape(3, 32 // side, side, 32 // side, side).mean((2, 4)) for x in (image, mean)]
            assert np.abs(sums[0] - sums[1]).max() <= 0.5001 and np.abs(image - mean).max() > 5
        elif question.technique == "noise_mix":
            expected = question.params["sigma"] * np.sqrt(np.square(question.weights).sum())
            inner = (mean > 60) & (mean < 195)  # where little is clipped
            if inner.sum() > 500:
                assert np.std((image - mean)[inner]) == pytest.approx(expected, rel=0.12)
        elif question.technique == "graft_mix":
            whole = (image == question.sources[0]).all(0).mean()
            assert whole == pytest.approx(question.params["p"], abs=0.02)
        elif question.technique == "blur_mix":
            assert np.std(image - uniform_filter(image, (1, 3, 3))) < np.std(mean - uniform_filter(mean, (1, 3, 3)))
        elif question.params["grid"] == 16:
            cells = mean.reshape(3, 16, 2, 16, 2).mean((2, 4)).repeat(2, 1).repeat(2, 2)
            assert np.abs(image - cells).max() <= 0.5001


def test_knobs_are_scaled_unless_the_paper_s_are_asked_for():
    as_printed = survey(paper_knobs=True, size=48).key
    assert as_printed.knobs == "as printed"
    kernels = {question.params["kernel"] for question in as_printed.questions if question.technique == "blur_mix"}
    assert kernels <= {17, 35, 45}
    assert {q.params["kernel"] for q in survey().key.questions if q.technique == "blur_mix"} <= {3, 5}
    assert "those that the paper prints" in render(as_printed, survey(paper_knobs=True, size=48).photos)


def test_a_seed_makes_the_same_survey_again_and_another_one_another():
    again = make(splits(), REQUEST, load_registry(), 1, paper_knobs=False)
    assert render(again.key, again.photos) == render(survey().key, survey().photos)
    assert again.key.survey == survey().key.survey != survey(seed=2).key.survey
    assert [q.names for q in again.key.questions] == [q.names for q in survey().key.questions]
    assert [q.names for q in again.key.questions] != [q.names for q in survey(seed=2).key.questions]


def test_the_state_of_torch_does_not_matter():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    again = make(splits(), REQUEST, load_registry(), 1, paper_knobs=False)
    assert all((a.image == b.image).all() for a, b in zip(again.key.questions, survey().key.questions, strict=True))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_class_with_one_image_is_refused():
    with pytest.raises(HarnessError, match=r"class 'blue_car' has 1 private image\(s\)"):
        make(splits(images=1), REQUEST, load_registry(), 1, paper_knobs=False)


@pytest.mark.parametrize(
    ("size", "paper_knobs", "said"),
    [(16, True, "kernel 35|grid 20"), (16, False, "grid 20"), (40, True, "block 16"), (37, False, "no block of 2")],
)
def test_sizes_that_table_1_does_not_suit_are_refused_whatever_the_seed(size, paper_knobs, said):
    for seed in range(3):
        with pytest.raises(HarnessError, match=said) as refused:
            make(splits(size), REQUEST, load_registry(), seed, paper_knobs=paper_knobs)
        assert "--size" in str(refused.value)


# The page gives nothing away


def test_the_page_holds_the_released_images_and_the_photos_and_no_other(page):
    pictures = [decoded(text) for text in PICTURE.findall(page)]
    expected = [*survey().photos, *(question.image for question in survey().key.questions)]
    assert len(pictures) == len(expected) == 4 + 49
    assert all(np.array_equal(a, b) for a, b in zip(pictures, expected, strict=True))
    for question in survey().key.questions:
        assert not any(keys.as_text(source) in page for source in question.sources)


def test_the_page_says_nothing_of_techniques_settings_names_and_seeds(page):
    rest = PICTURE.sub("", page)
    key = survey().key
    for question in key.questions:
        assert not any(name in rest for name in question.names)
    for word in ("graft", "shuffle", "noise", "pixelize", "sigma", "kernel", "lambda", "weights", "technique", "seed"):
        assert word not in rest.lower(), word
    assert "colours" not in rest and key.dataset["fingerprint"] not in rest


def test_every_question_has_the_same_text_but_for_its_number(page):
    """So that neither order, ids nor values of the boxes depend on what is in the image."""
    blocks = re.findall(r'<fieldset class="question".*?</fieldset>', PICTURE.sub("<img", page), re.DOTALL)
    plain = {block.replace(f"q{n:02}", "Q").replace(f"uestion {n}", "N") for n, block in enumerate(blocks, 1)}
    assert len(blocks) == 49 and len({re.sub(r"N of 49|N[;.]", "N", block) for block in plain}) == 1


def test_the_data_of_the_script_are_ids_and_classes(page):
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page)
    data = json.loads(text)
    assert data == {
        "survey": survey().key.survey,
        "questions": [f"q{number:02}" for number in range(1, 50)],
        "classes": list(CLASSES),
        "width": 32,
        "minutes": 10,
    }
    assert "<b>cat" not in page and "&lt;b&gt;cat" in page


def test_the_policy_allows_no_request(page):
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)[1]
    assert policy.startswith("default-src &#39;none&#39;; script-src &#39;sha256-")
    assert "http" not in policy and "connect-src" not in policy
    assert not re.search(r'(src|href)="(?!data:)', page)


# The key


def test_a_key_is_read_as_it_was_written(tmp_path):
    keys.write(survey().key, tmp_path / "key.json")
    found = keys.read(tmp_path / "key.json")
    for name in ("survey", "seed", "knobs", "dataset", "request", "classes", "size"):
        assert getattr(found, name) == getattr(survey().key, name)
    for a, b in zip(found.questions, survey().key.questions, strict=True):
        assert (a.id, a.technique, a.settings, a.classes, a.names) == (
            b.id,
            b.technique,
            b.settings,
            b.classes,
            b.names,
        )
        assert np.array_equal(a.image, b.image) and np.array_equal(a.sources, b.sources)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.update(form=2), "form"),
        (lambda d: d.pop("survey"), "survey is missing"),
        (lambda d: d["questions"][2].update(classes=[0, 9]), "questions.#3: .*are not 2 of 4"),
        (lambda d: d["questions"][2].update(classes=[1, 1]), "questions.#3: .*are not 2 of 4"),
        (lambda d: d["questions"][2].update(image="AAAA"), "questions.#3: image: no PNG in base64"),
        (lambda d: d["dataset"].update(height=40), "RGB 32x32, expected RGB 32x40"),
        (lambda d: d["questions"].append(d["questions"][0]), "length|id stands twice"),
        (lambda d: d["classes"].append(d["classes"][0]), "a name stands twice"),
        (lambda d: d["questions"][0]["names"].append("x"), "differ in number|length"),
    ],
)
def test_another_document_is_no_key(tmp_path, change, said):
    file = tmp_path / "key.json"
    keys.write(survey().key, file)
    document = json.loads(file.read_text())
    two = next(place for place, q in enumerate(document["questions"]) if len(q["classes"]) == 2)
    document["questions"][2], document["questions"][two] = document["questions"][two], document["questions"][2]
    change(document)
    file.write_text(json.dumps(document))
    with pytest.raises(HarnessError, match=said) as refused:
        keys.read(file)
    assert str(file) in str(refused.value) and "\n" not in str(refused.value)


# Files


def test_the_key_is_private_and_outside_of_what_is_handed_out(tmp_path):
    write(survey(), tmp_path / "survey", tmp_path / "survey.key.json")
    assert [path.name for path in (tmp_path / "survey").iterdir()] == ["index.html"]
    assert stat.S_IMODE((tmp_path / "survey.key.json").stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["survey", "survey.key.json"]


def test_nothing_of_the_user_s_is_overwritten_and_a_failure_leaves_nothing(tmp_path):
    out, key = tmp_path / "survey", tmp_path / "survey.key.json"
    key.write_text("mine")
    with pytest.raises(HarnessError, match="is there already"):
        write(survey(), out, key)
    assert key.read_text() == "mine" and not out.exists()
    key.unlink()
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(HarnessError, match="cannot"):
        write(survey(), out, key)
    assert not key.exists() and [path.name for path in out.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("out", "key", "said"),
    [
        ("new", "new/key.json", "lies inside the survey"),
        ("new", "there.json", "is there already"),
        ("full", "key.json", "is a folder that is not empty"),
        ("there.json", "key.json", "is a file"),
        ("missing/new", "key.json", "there is no folder"),
        ("new", "images/key.json", "lies inside the images"),
        ("images/new", "key.json", "lies inside the images"),
    ],
)
def test_places_are_checked_before_the_work(tmp_path, out, key, said):
    for folder in ("full/x", "images"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "there.json").write_text("")
    with pytest.raises(HarnessError, match=said):
        check_places(tmp_path / out, tmp_path / key, tmp_path / "images")
