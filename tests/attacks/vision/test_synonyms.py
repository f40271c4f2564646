"""Names that a service gives are told apart and assigned to classes, by the built-in table too."""

from __future__ import annotations

import pytest

from harness.errors import HarnessError
from harness.plugins.attacks.vision.synonyms import Label, normal, vocabulary
from harness.registry import load_registry


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("english_springer", "English Springer"),
        ("Churches", "church"),
        ("Golf balls", "golf-ball"),
        ("St. Bernard", "st bernard"),
        ("ponies", "pony"),
        ("grass", "Grass"),
        ("bus", "BUS"),
    ],
)
def test_names_are_compared_without_case_underscores_or_number(one, other):
    assert normal(one) == normal(other)


@pytest.mark.parametrize(("one", "other"), [("cat", "catfish"), ("dog", "hot dog"), ("horse", "sea horse")])
def test_a_part_of_a_name_is_not_the_name(one, other):
    assert normal(one) != normal(other)


def test_the_class_name_alone_is_enough_and_ranges_of_wordnet_numbers_stand_for_classes():
    names = vocabulary(("dog", "whale"), {"dog": ["n02085620-n02113978"], "unrelated": ["whale"]})

    found = [names.class_of(label) for label in (Label("pug", 1, "n02110958"), Label("Whales", 1), Label("wolf", 1))]

    assert found == [0, 1, None]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"cat": ["pet"], "dog": ["Pets"]}, "'Pets' stands for cat and for dog"),
        ({"cat": "kitten"}, "expected a list of names"),
        ({"cat": [""]}, "expected a list of names"),
    ],
)
def test_a_table_that_says_nothing_clear_is_refused(table, said):
    with pytest.raises(HarnessError, match=said):
        vocabulary(("cat", "dog"), table)


CLASSES = {
    "cats_vs_dogs": "cat dog",
    "cifar10": "airplane automobile bird cat deer dog frog horse ship truck",
    "stl10": "airplane bird car cat deer dog horse monkey ship truck",
    "imagenette10": "cassette_player chain_saw church english_springer french_horn garbage_truck gas_pump golf_ball "
    "parachute tench",
    "stanford_dogs10": "basset german_shepherd golden_retriever husky pembroke poodle pug rottweiler saint_bernard "
    "whippet",
    "photos": "brick chelsea coffee coins grass gravel hubble ihc retina rocket",
}


@pytest.mark.parametrize("data", CLASSES)
def test_the_built_in_table_knows_every_class_of_the_data_sets_and_confuses_none(data):
    classes = tuple(CLASSES[data].split())
    table = load_registry().get("attacks", "google_vision").params["synonyms"]

    names = vocabulary(classes, table)

    assert set(classes) <= set(table)
    assert [names.class_of(Label(name.replace("_", " ").title(), 1)) for name in classes] == list(range(len(classes)))
