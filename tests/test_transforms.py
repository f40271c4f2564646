"""`Obfuscate`: batches of one's own training loop, obfuscated as the benchmark obfuscates a data set."""

from __future__ import annotations

import copy
import io
import os
import pickle
import sys
import threading

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset, default_collate

import harness
from harness import DefensePlugin, Obfuscate
from harness.errors import HarnessError
from harness.images import average
from tests.helpers.pretend_cuda import PretendCuda, values


def darker(sources, weights, rng, *, by=0.5):
    return average(sources, weights) * by


@pytest.fixture
def batch(images, classes):
    return images, torch.from_numpy(classes)


def test_a_batch_is_mixed_rounded_and_labelled_by_its_dominant_image(batch):
    images, labels = batch
    made, public = Obfuscate("mix", weights=[0.75, 0.25], seed=3)(images, labels)

    assert made.dtype == torch.float32 and made.shape == images.shape
    assert torch.equal((made * 255).round() / 255, made)
    assert public.dtype == labels.dtype and public.shape == labels.shape
    mixtures = 0.75 * images[:, None] + 0.25 * images[None]  # (dominant, other)
    for image, label in zip(made, public, strict=True):
        distance = (mixtures - image).abs().amax((2, 3, 4))
        dominant, other = divmod(int(distance.argmin()), len(images))
        assert distance.min() < 0.51 / 255 + 1e-6 and dominant != other
        assert label == labels[dominant]


def test_undefended_images_come_back_in_another_order(batch):
    images, labels = batch
    made, public = Obfuscate("none")(images, labels)

    order = [int((images - image).abs().amax((1, 2, 3)).argmin()) for image in made]
    assert sorted(order) == list(range(24)) != order
    assert torch.equal(labels[order], public) and torch.allclose(images[order], made, atol=1e-6)


def test_bytes_come_back_as_bytes_with_the_same_mixtures(batch):
    images, labels = batch
    stored = (images * 255).round().to(torch.uint8)

    of_floats, _ = Obfuscate("shuffle_mix", block=8, seed=0)(stored.float() / 255, labels)
    of_bytes, _ = Obfuscate("shuffle_mix", block=8, seed=0)(stored, labels.int())

    assert of_bytes.dtype == torch.uint8 and torch.equal(of_bytes.float() / 255, of_floats)
    assert Obfuscate("mix")(stored, labels.int())[1].dtype == torch.int32


def test_soft_labels_are_shares_of_the_classes(batch):
    _, public = Obfuscate("mixup", num_classes=5)(*batch)

    assert public.dtype == torch.float32 and public.shape == (24, 5)
    assert torch.allclose(public.sum(1), torch.ones(24), atol=1e-5)
    assert float(public[:, 3:].sum()) == 0 and bool((public.max(1).values < 0.999).any())


def test_images_of_one_class_have_its_label_whole(batch):
    _, public = Obfuscate("mix", weights=[0.6, 0.4], label="soft", num_classes=3, intra_class=True)(*batch)

    assert torch.equal(public.sort(1).values, torch.tensor([[0.0, 0.0, 1.0]]).expand(24, 3))


def test_a_seed_repeats_the_sequence_of_batches_and_no_two_of_it_are_equal(batch):
    def three(**options):
        transform = Obfuscate("noise_mix", sigma=10, **options)
        return torch.stack([transform(*batch)[0] for _ in range(3)])

    first = three(seed=4)
    assert torch.equal(first, three(seed=4)) and not torch.equal(first, three(seed=5))
    assert not torch.equal(first[0], first[1]) and not torch.equal(first[1], first[2])

    generators = [torch.Generator().manual_seed(9) for _ in range(2)]
    drawn = [three(generator=generator) for generator in generators]
    assert torch.equal(*drawn) and not torch.equal(drawn[0][0], drawn[0][1])

    torch.manual_seed(1)
    free = three()
    assert not torch.equal(free, three())
    torch.manual_seed(1)
    assert torch.equal(free, three())


class Collate:
    def __init__(self, **options):
        self.transform = Obfuscate("noise_mix", **options)

    def __call__(self, samples):
        return self.transform(*default_collate(samples))


def epochs(batch, workers, count=2, **options):
    """(epochs, batches, N, 3, H, W) of equal images in every batch, so that the numbers of two batches compare."""
    images, _ = batch
    data = TensorDataset(images[:1].expand(16, -1, -1, -1), torch.arange(16) % 2)
    loader = DataLoader(
        data, 4, collate_fn=Collate(**options), num_workers=workers, generator=torch.Generator().manual_seed(2)
    )
    return torch.stack([torch.stack([made for made, _ in loader]) for _ in range(count)])


@pytest.mark.parametrize("workers", (0, 2))
@pytest.mark.parametrize("how", ("seed", "generator", "global"))
def test_every_batch_of_every_worker_and_epoch_has_numbers_of_its_own(batch, workers, how):
    def run():
        torch.manual_seed(7)
        options = {"seed": {"seed": 0}, "generator": {"generator": torch.Generator().manual_seed(0)}, "global": {}}
        return epochs(batch, workers, **options[how])

    made = run()

    every = made.flatten(0, 1)
    assert len({image.numpy().tobytes() for image in every}) == 8
    assert torch.equal(made, run())


@pytest.mark.parametrize("options", ({"seed": 0}, {}, {"generator": torch.Generator().manual_seed(0)}))
def test_threads_never_have_the_same_numbers(options):
    transform, keys = Obfuscate("mix", **options), []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=lambda: keys.extend(transform._key() for _ in range(500))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)

    assert len(keys) == len(set(keys)) == 4000


def key_of_fork(transform):
    """What a process that is forked here draws first."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        os.write(writing, transform._key())
        os._exit(0)
    os.waitpid(process, 0)
    with os.fdopen(reading, "rb") as file:
        os.close(writing)
        return file.read()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("how", ("generator", "global"))
def test_a_fork_of_ones_own_has_numbers_of_its_own_and_with_a_seed_the_same(how):
    options = {"generator": torch.Generator().manual_seed(0)} if how == "generator" else {}
    transform = Obfuscate("mix", **options)
    keys = [key_of_fork(transform), key_of_fork(transform), transform._key()]
    assert len(set(keys)) == 3 and all(len(key) == 32 for key in keys)

    seeded = Obfuscate("mix", seed=0)
    assert key_of_fork(seeded) == seeded._key()


def test_copies_without_a_seed_have_numbers_of_their_own():
    for options in ({}, {"generator": torch.Generator().manual_seed(0)}):
        transform = Obfuscate("mix", **options)
        stored = pickle.dumps(transform)
        several = [
            transform,
            copy.deepcopy(transform),
            copy.copy(transform),
            pickle.loads(stored),
            pickle.loads(stored),
        ]
        assert len({each._key() for each in several}) == 5


def test_functions_of_ones_own_are_defenses(batch):
    images, labels = batch
    made, _ = Obfuscate(darker, by=0.25)(images, labels)
    assert made.max() <= 0.251

    def brighter(sources, weights, rng):
        return average(sources, weights) * 0.5 + 0.5

    made, _ = Obfuscate(DefensePlugin(brighter, mixing={"weights": [1.0]}))(images, labels)
    assert made.min() >= 0.499


def test_it_is_a_module_that_says_what_it_does_and_can_be_copied(batch):
    transform = Obfuscate("shuffle_mix", block=4, seed=1)

    assert repr(transform).startswith("Obfuscate(shuffle_mix, block=4, weights=0.75,0.25, pairing=permutation")
    copies = [copy.deepcopy(transform), pickle.loads(pickle.dumps(transform))]
    expected = transform(*batch)[0]
    assert all(torch.equal(each(*batch)[0], expected) for each in copies)
    assert not list(transform.parameters()) and not transform.state_dict()
    torch.save(transform.state_dict(), io.BytesIO())


def test_it_follows_the_device(batch, monkeypatch):
    monkeypatch.setattr("harness.release.in_thread", lambda work: work())  # what is pretended holds for one thread
    images, labels = (each[:6] for each in batch)
    plain, known = Obfuscate("pixelize_mix", grid=8, seed=0)(images, labels)
    with PretendCuda():
        made, public = Obfuscate("pixelize_mix", grid=8, seed=0)(images.to("cuda"), labels.to("cuda"))
        assert (made.device.type, public.device.type) == ("cuda", "cuda")
        _, kept = Obfuscate("mix")(images.to("cuda"), labels)
        assert kept.device.type == "cpu"

    assert torch.equal(values(public), known) and np.allclose(values(made), plain, atol=1.01 / 255)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
def test_it_runs_on_a_gpu(batch):
    made, public = Obfuscate("shuffle_mix", block=8, seed=0)(*(each.to("cuda") for each in batch))

    assert made.is_cuda and public.is_cuda and made.shape == batch[0].shape


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"images": torch.rand(3, 8, 8)}, r"Obfuscate\('mix'\): images have shape \(3, 8, 8\); .*use images\[None\]"),
        ({"images": torch.rand(4, 3, 8, 8) * 3 - 1}, "give them as they are before normalisation"),
        ({"images": torch.rand(4, 3, 8, 8).double()}, "images are torch.float64; expected uint8 or float32"),
        ({"images": torch.rand(1, 3, 8, 8), "labels": torch.tensor([0])}, "1 image is too few for mixtures of 2"),
        ({"images": torch.rand(0, 3, 8, 8)}, r"images are empty, \(0, 3, 8, 8\)"),
        ({"labels": torch.rand(4, 3)}, r"labels are soft, \(4, 3\)"),
        ({"labels": torch.zeros(5).long()}, r"labels have shape \(5,\); expected \(4,\)"),
        ({"labels": torch.tensor([0, 1, 2, 9])}, "a label is 9, and there are 3 classes"),
    ],
)
def test_a_batch_that_is_none_is_refused_in_one_sentence(changed, said):
    given = {"images": torch.rand(4, 3, 8, 8), "labels": torch.tensor([0, 1, 2, 0]), **changed}

    with pytest.raises(HarnessError, match=said) as refused:
        Obfuscate("mix", num_classes=3)(**given)

    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("defense", "options", "said"),
    [
        ("mixed", {}, "no defense called 'mixed'; did you mean 'mix'"),
        ("shuffle_mix", {"blocks": 4}, "shuffle_mix: no knob called 'blocks'; did you mean 'block'"),
        ("shuffle_mix", {"block": "four"}, "shuffle_mix: block: expected a number such as 8, got 'four'"),
        ("mixup", {}, "mixup gives soft labels; say of how many classes: num_classes=10"),
        ("mix", {"num_classes": 0}, "num_classes is 0; expected 1 or more"),
        ("mix", {"num_classes": "ten"}, "num_classes is 'ten'; expected a whole number"),
        ("mix", {"seed": 1.5}, "seed is 1.5; expected a whole number"),
        ("mix", {"generator": 3}, "generator is .*3.*; expected a torch.Generator"),
        ("mix", {"seed": 1, "generator": torch.Generator()}, "takes a seed or a generator, not both"),
        (["mix", "none"], {}, "defense .* is a list; give one"),
        (harness.metrics.dssim, {}, "is of the metrics"),
    ],
)
def test_settings_that_are_none_are_refused_when_it_is_made(defense, options, said):
    with pytest.raises(HarnessError, match=said):
        Obfuscate(defense, **options)


def test_a_block_that_does_not_divide_is_refused_by_the_first_batch():
    with pytest.raises(HarnessError, match="block 7 does not divide 8x8 images; use 2, 4 or 8"):
        Obfuscate("shuffle_mix", block=7)(torch.rand(4, 3, 8, 8), torch.zeros(4).long())
