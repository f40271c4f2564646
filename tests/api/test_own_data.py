"""Data sets in memory: split, cached and fingerprinted by content like those of a folder."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from harness.api.own_data import registered
from harness.data.sources.in_memory import Sample, store
from harness.errors import HarnessError
from harness.registry import load_registry
from harness.run.options import RunOptions, load_splits
from tests.helpers.planted import picture_folder, stripes

REGISTRY = load_registry()


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def loaded(dataset, name=None, **options):
    said, file = registered(dataset, name, REGISTRY)
    return load_splits(RunOptions(dataset=said, **options), load_registry([file]))


def of_folder(folder, **options):
    return load_splits(RunOptions(dataset=str(folder), **options), REGISTRY)


class Pairs(Dataset):
    """What a caller's own class looks like."""

    def __init__(self, images, labels):
        self.images, self.labels = images, labels

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, at):
        return self.images[at], self.labels[at]


IMAGES, LABELS = stripes(60)
IN_EVERY_FORM = {
    "arrays": lambda: (IMAGES, LABELS),
    "tensors": lambda: (torch.from_numpy(IMAGES), torch.from_numpy(LABELS)),
    "floats": lambda: (torch.from_numpy(IMAGES).float() / 255, LABELS.tolist()),
    "TensorDataset": lambda: TensorDataset(torch.from_numpy(IMAGES), torch.from_numpy(LABELS)),
    "floats of a Dataset": lambda: Pairs(torch.from_numpy(IMAGES).double() / 255, LABELS),
    "PIL": lambda: Pairs([Image.fromarray(image) for image in IMAGES.transpose(0, 2, 3, 1)], LABELS),
    "arrays of a Dataset": lambda: Pairs(IMAGES.transpose(0, 2, 3, 1), LABELS.tolist()),
    "a list of pairs": lambda: [(torch.from_numpy(i), int(c)) for i, c in zip(IMAGES, LABELS, strict=True)],
    "in another order": lambda: (IMAGES[::-1].copy(), LABELS[::-1].copy()),
}


@pytest.mark.parametrize("form", IN_EVERY_FORM)
def test_every_form_of_the_same_images_is_the_same_data_set(form):
    expected, found = loaded((IMAGES, LABELS)), loaded(IN_EVERY_FORM[form]())

    assert found.fingerprint == expected.fingerprint
    assert found.name == expected.name
    assert np.array_equal(found.private.images, expected.private.images)
    assert found.classes == ("0", "1", "2") and len(found.private) == 36


def test_it_is_the_data_set_of_a_folder_with_the_same_pictures(tmp_path):
    """torchvision names the classes; the folder is decoded by the harness."""
    folder = picture_folder(tmp_path / "stripes", each=20)
    expected = of_folder(folder)

    for transform in (None, v2.ToImage(), v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])):
        found = loaded(ImageFolder(folder, transform))
        assert found.fingerprint == expected.fingerprint and found.classes == expected.classes


def test_train_and_test_keep_their_roles(tmp_path):
    for role, rows in (("train", slice(0, 45)), ("test", slice(45, 60))):
        for at, (image, label) in enumerate(zip(IMAGES[rows], LABELS[rows], strict=True)):
            file = tmp_path / "folder" / role / str(label) / f"{at}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.transpose(1, 2, 0)).save(file)

    found = loaded(
        {"train": (IMAGES[:45], LABELS[:45]), "test": TensorDataset(*map(torch.from_numpy, (IMAGES[45:], LABELS[45:])))}
    )

    assert found.fingerprint == of_folder(tmp_path / "folder").fingerprint
    assert (len(found.private), len(found.public), len(found.test)) == (30, 15, 15)


def test_options_of_the_images_apply():
    found = loaded((IMAGES, LABELS), size=12, limit=20, public_share=0)

    assert found.size == (12, 12) and len(found.private) == 20 and len(found.public) == 0


def test_greyscale_is_repeated_and_classes_sort_as_numbers_do():
    grey, labels = IMAGES[:, :1], np.arange(60) % 12

    found = loaded((torch.from_numpy(grey), labels))

    assert found.fingerprint == loaded((grey.repeat(3, 1), labels)).fingerprint
    assert found.fingerprint == loaded(Pairs(grey[:, 0], labels)).fingerprint
    assert found.classes == tuple(f"{number:02}" for number in range(12))


def test_class_numbers_far_apart_are_the_names_of_those_that_occur():
    """Of a million numbers only two are in use; a class that is missing leaves the names of the others as they are."""
    far = loaded((IMAGES, (LABELS > 0) * 999_999))

    assert far.classes == ("000000", "999999")
    assert loaded((IMAGES[LABELS != 1], LABELS[LABELS != 1])).classes == ("0", "2")


def test_names_are_made_for_the_numbers_that_occur(tmp_path):
    """A list up to the largest number would not fit into memory."""
    samples = [Sample(IMAGES[at].transpose(1, 2, 0), at % 2 * 10**15, None) for at in range(4)]

    store(samples, tmp_path)

    assert {row[1] for row in json.loads((tmp_path / "index.json").read_text())} == {"0" * 16, "1" + "0" * 15}


def test_a_data_set_may_give_every_image_in_one_array():
    found, expected = loaded(Refilled(IMAGES, LABELS)), loaded((IMAGES, LABELS))

    assert found.fingerprint == expected.fingerprint


def test_other_content_is_another_name_and_the_caller_may_give_one():
    one, other = loaded((IMAGES, LABELS)), loaded((255 - IMAGES, LABELS))
    assert one.name != other.name and one.fingerprint != other.fingerprint and one.name.startswith("images-")

    named = loaded((IMAGES, LABELS), name="my_stripes")
    assert named.name == "my_stripes" and named.fingerprint == one.fingerprint


def test_a_record_does_not_say_that_it_can_be_loaded_again():
    said, file = registered((IMAGES, LABELS), None, REGISTRY)

    assert RunOptions(dataset=said).data_request(load_registry([file]))["dataset"] is None
    assert RunOptions(dataset="photos").data_request(REGISTRY)["dataset"] == "photos"


class Lines(IterableDataset):
    def __iter__(self):
        return iter(())


class Noisy(Pairs):
    def __getitem__(self, at):
        return torch.rand(3, 16, 16), self.labels[at]


class Raising(Pairs):
    def __getitem__(self, at):
        raise OSError("disk gone")


class Twice(Pairs):
    """Other pixels at each read of one image in the middle."""

    reads = 0

    def __getitem__(self, at):
        self.reads += at == 30
        image, label = super().__getitem__(at)
        return (255 - image if at == 30 and self.reads % 2 else image), label


class Refilled(Pairs):
    """Every image in the same array, as decoders with a buffer give them."""

    buffer = np.zeros((16, 16, 3), np.uint8)

    def __getitem__(self, at):
        self.buffer[:] = self.images[at].transpose(1, 2, 0)
        return self.buffer, self.labels[at]


class Long(Pairs):
    length = None

    def __len__(self):
        return self.length


def of_length(length):
    made = Long(*PAIRED)
    made.length = length
    return made


PAIRED = torch.from_numpy(IMAGES), torch.from_numpy(LABELS)


@pytest.mark.parametrize(
    ("dataset", "name", "said"),
    [
        (3, None, r"dataset is int; expected a name, a folder, \(images, labels\), a map-style torch Dataset"),
        (PAIRED[0], None, "dataset is Tensor; expected a name"),
        ((PAIRED[0], PAIRED[1][:5]), None, r"dataset: labels have shape \(5,\); expected \(60,\), one for each image"),
        ((PAIRED[0][0], PAIRED[1]), None, r"dataset: images have shape \(3, 16, 16\); .*: use images\[None\]"),
        ((PAIRED[0].int(), PAIRED[1]), None, "dataset: images are torch.int32; expected uint8"),
        ((PAIRED[0].float(), PAIRED[1]), None, "dataset: images go from .*: divide them by 255"),
        ({"train": PAIRED}, None, "dataset has the parts 'train'; expected 'train' and 'test'"),
        ({"train": PAIRED, "test": 3}, None, "dataset is int"),
        (DataLoader(TensorDataset(*PAIRED)), None, "dataset is a DataLoader.*; give its data set: loader.dataset"),
        (Lines(), None, "dataset is iterable alone; give a map-style one"),
        ([], None, "dataset is empty; give images of two classes or more"),
        (TensorDataset(PAIRED[0]), None, r"dataset\[0\] is 1 values; expected \(image, label\)"),
        (Noisy(*PAIRED), None, "dataset: an item differs between two reads; give it without random transforms"),
        (Twice(*PAIRED), None, "dataset: an item differs between two reads; give it without random transforms"),
        (
            of_length("a"),
            None,
            "dataset: the length of Long cannot be read: TypeError: .*; its __len__ must return how many",
        ),
        (
            of_length(-1),
            None,
            "dataset: the length of Long cannot be read: ValueError: .*; its __len__ must return how many",
        ),
        (
            of_length(2**70),
            None,
            "dataset: the length of Long cannot be read: OverflowError: .*; its __len__ must return",
        ),
        (
            (PAIRED[0], [[1], [1, 2]] * 30),
            None,
            r"dataset: labels are a list of unequal parts; expected a tensor of \(60,\)",
        ),
        ((PAIRED[0].to("meta"), PAIRED[1]), None, 'dataset: images are a tensor without data, on the device "meta"'),
        ((PAIRED[0][:, :1].to_sparse(), PAIRED[1]), None, "dataset: images are a tensor of layout torch.sparse_coo"),
        (Pairs([each.to_sparse() for each in PAIRED[0]], LABELS), None, r"dataset\[0\]: image are a tensor of layout"),
        (Pairs([np.ma.masked_array(IMAGES[0], IMAGES[0] > 9)] * 60, LABELS), None, r"dataset\[0\]: image are a masked"),
        (Pairs(PAIRED[0], ["b\0\ud800", "c"] * 30), None, r"the class name 'b\\x00\\ud800' is no Unicode text; rename"),
        (
            Pairs(PAIRED[0], [10**30 + at % 2 for at in range(60)]),
            None,
            r"dataset\[0\]: a label is 10+; expected class numbers",
        ),
        (
            (PAIRED[0], PAIRED[1] * 10**9),
            None,
            "dataset: a label is 2000000000; expected class numbers below 1,000,000",
        ),
        (Raising(*PAIRED), None, r"dataset\[0\] cannot be read: OSError: disk gone"),
        (Pairs(PAIRED[0].flatten(1), PAIRED[1]), None, r"dataset\[0\]: the image has shape \(768,\); expected"),
        (Pairs(IMAGES, LABELS), None, r"dataset\[0\]: the image is array of uint8 \(3, 16, 16\); expected a PIL image"),
        (Pairs(PAIRED[0].float() - 99, LABELS), None, r"dataset\[0\]: image go from .* before normalisation"),
        (Pairs(PAIRED[0], LABELS + 0.5), None, r"dataset\[0\]: the label is .*; expected a class number or name"),
        (Pairs(PAIRED[0], LABELS - 1), None, r"dataset\[0\]: the label is -1; expected a class number from 0 on"),
        (Pairs(PAIRED[0], ["a", *LABELS[1:]]), None, "some labels are numbers and some are names; give one kind"),
        (PAIRED, "my set", "name 'my set' is not a name; use up to 100 letters, digits, _ and -"),
        (PAIRED, "photos", "name 'photos' is that of a registered data set; use another"),
    ],
)
def test_what_is_no_data_set_is_refused_in_one_sentence(dataset, name, said):
    with pytest.raises(HarnessError, match=said) as refused:
        registered(dataset, name, REGISTRY)

    assert "\n" not in str(refused.value)


def test_a_set_of_one_class_is_refused_by_its_name():
    with pytest.raises(HarnessError, match=r"data set 'images-\w+' has 1 class"):
        loaded((IMAGES, LABELS * 0))


def test_what_is_kept_in_scratch_is_the_users_alone():
    _, file = registered((IMAGES, LABELS), None, REGISTRY)

    assert file.parent.stat().st_mode & 0o077 == 0
    assert len(json.loads((file.parent / "index.json").read_text())) == 60
