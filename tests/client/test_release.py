"""A release depends on its key alone and is in random order."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from harness import release as release_module
from harness.errors import HarnessError
from harness.images import average, cpu
from harness.observation import Observation
from harness.randomness import derive, root_of, torch_generator
from harness.registry import bind
from harness.release import Scheme, as_tensor, chunk_size, obfuscate, try_out
from harness.types import Mixture
from tests.helpers.releases import KEY, REGISTRY, SHOWN, Bytes, Classes, noise_of, released, same, scheme, tiny

DEFENSES = list(REGISTRY.section("defenses"))


# ---- what is released ------------------------------------------------------------------------------------------------


def test_the_undefended_release_holds_the_originals_in_another_order(photographs: Bytes, classes: Classes) -> None:
    release, secret = released("none", photographs, classes)

    assert release.images.dtype == torch.uint8
    assert np.array_equal(release.images.numpy(), photographs[secret.dominant_rows])
    assert np.array_equal(release.labels.numpy(), classes[secret.dominant_rows])
    assert np.array_equal(np.sort(secret.dominant_rows), np.arange(24))
    assert not np.array_equal(secret.dominant_rows, np.arange(24))


@pytest.mark.parametrize("pairing, count", [("permutation", 24), ("matching", 8)])
def test_a_release_is_the_rounded_mixture_of_the_sources_that_the_secret_names(
    photographs: Bytes, classes: Classes, pairing: str, count: int
) -> None:
    """Within the half grey level that rounding costs."""
    weights = [0.7, 0.2, 0.1]
    release, secret = released("mix", photographs, classes, weights=weights, pairing=pairing)

    expected = np.einsum("k,nkchw->nchw", np.array(weights), photographs[secret.sources].astype(float))
    assert len(release) == count
    assert np.abs(release.images.numpy() - expected).max() <= 0.5 + 1e-3
    np.testing.assert_allclose(secret.shares, [weights] * count, atol=1e-6)


def test_values_beyond_the_range_are_clipped() -> None:
    """Strong noise on black images: half of the values are 0, the others half of a Gaussian."""
    release, _ = released(
        "noise_mix", np.zeros((50, 3, 16, 16), np.uint8), np.zeros(50, np.int64), sigma=40, weights=[1.0]
    )

    values = release.images.double()
    assert abs(float((values == 0).double().mean()) - 0.505) < 0.02
    assert abs(float(values.mean()) - 40 / np.sqrt(2 * np.pi)) < 0.5


def test_the_generators_of_a_seed_cannot_be_listed_without_the_data(photographs: Bytes, classes: Classes) -> None:
    """No state that derives from seed, epoch and chunk alone; another picture anywhere in the set gives another one."""
    states: list[bytes] = []

    def spying(sources: torch.Tensor, weights: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        states.append(rng.get_state().numpy().tobytes())
        return average(sources, weights)

    spied = replace(scheme("none"), function=spying)
    for key in (derive(root_of(0), "release", 0), derive(root_of(0), "release", 0)):
        obfuscate(spied, photographs, classes, 3, key)
    darker = photographs.copy()
    darker[-1] //= 2
    obfuscate(spied, darker, classes, 3, derive(root_of(0), "release", 0))

    without_data = torch_generator(derive(derive(root_of(0), "release", 0), "chunk", 0), "cpu").get_state()
    assert states[0] == states[1]
    assert len({states[0], states[2], without_data.numpy().tobytes()}) == 3


def test_the_call_stack_of_a_defense_does_not_tell_rehearsals_from_releases(
    photographs: Bytes, classes: Classes
) -> None:
    stacks: list[list[str]] = []

    def spying(sources: torch.Tensor, weights: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        stacks.append([f"{frame.filename}:{frame.name}" for frame in traceback.extract_stack()])
        return average(sources, weights)

    spied = replace(scheme("none"), function=spying)
    obfuscate(spied, photographs, classes, 3, KEY)
    own = as_tensor(photographs)
    seen = Observation(own, np.arange(24), ("a", "b", "c"), 1, "cpu", frozenset({"defense"}), _scheme=spied, _key=KEY)
    seen.rehearse(own, classes, 0)
    seen.apply(own[:, None] / 255, torch.ones(24, 1), torch_generator(KEY, "cpu"))

    assert stacks[0] == stacks[1] == stacks[2]


# ---- order -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"intra_class": True}, {"pairing": "matching"}], ids=str)
def test_the_order_of_a_release_is_random(settings: dict[str, Any]) -> None:
    """The row is uncorrelated with the private row, with the class, and with the rows of another epoch."""
    images, labels = tiny(2000)

    first, second = (
        released("mix", images, labels, derive(root_of(0), "release", epoch), weights=[0.75, 0.25], **settings)[1]
        for epoch in (0, 1)
    )

    rows, bound = np.arange(len(first.sources)), 4 / len(first.sources) ** 0.5
    for column in (0, 1):
        assert abs(spearmanr(rows, first.sources[:, column]).statistic) < bound
    assert abs(spearmanr(rows, labels[first.dominant_rows]).statistic) < bound
    assert abs(spearmanr(first.dominant_rows, second.dominant_rows).statistic) < bound


# ---- what a release depends on ---------------------------------------------------------------------------------------


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads(), cv2.getNumThreads()
    yield
    torch.set_num_threads(before[0]), cv2.setNumThreads(before[1])


@pytest.mark.parametrize("name", DEFENSES)
def test_the_same_key_gives_the_same_bytes_on_one_thread_and_on_two(
    photographs: Bytes, classes: Classes, threads: None, name: str
) -> None:
    """Over more than one chunk, since the last is shorter than the others."""
    many, labels = np.tile(photographs, (4, 1, 1, 1)), np.tile(classes, 4)
    made = []

    for count in (1, 2):
        torch.set_num_threads(count), cv2.setNumThreads(count)
        made.append(released(name, many, labels))

    assert len(many) > chunk_size(1, many.shape, "cpu")
    assert same(*made)


@pytest.mark.skipif(cpu.loops() is None, reason="Numba is not installed here")
@pytest.mark.parametrize("name", DEFENSES)
def test_the_same_key_gives_the_same_bytes_with_numba_and_without(
    photographs: Bytes, classes: Classes, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    compiled = released(name, photographs, classes)

    monkeypatch.setattr(cpu, "loops", lambda: None)

    assert same(compiled, released(name, photographs, classes))


@pytest.mark.parametrize("name", ["none", "shuffle_mix", "noise_mix", "graft", "mixup"])
def test_an_array_a_memory_map_and_a_tensor_release_the_same_bytes(
    photographs: Bytes, classes: Classes, tmp_path: Path, name: str
) -> None:
    np.save(tmp_path / "images.npy", photographs)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")

    made = [released(name, images, classes) for images in (photographs, mapped, as_tensor(photographs))]

    assert same(made[0], made[1]) and same(made[0], made[2])
    assert np.array_equal(mapped, photographs)


@pytest.mark.filterwarnings("error::ResourceWarning", "error::pytest.PytestUnraisableExceptionWarning")
def test_a_large_release_goes_to_scratch_space_with_the_same_bytes(
    photographs: Bytes, classes: Classes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And leaves no file behind: not by name, not open."""
    in_memory = released("noise_mix", photographs, classes)
    used: list[tuple[int, ...]] = []
    scratch = release_module.scratch

    def watched(shape: tuple[int, ...]) -> Any:
        used.append(shape)
        return scratch(shape)

    monkeypatch.setattr(release_module, "scratch", watched)
    monkeypatch.setattr(release_module, "_IN_MEMORY", photographs.nbytes - 1)
    on_disk = released("noise_mix", photographs, classes)

    assert [int(np.prod(shape)) for shape in used] == [photographs.nbytes]
    assert same(in_memory, on_disk)


@pytest.mark.parametrize("name", ["none", "mix", "noise_mix", "graft_mix", "shuffle_mix"])
def test_epochs_and_seeds_release_different_bytes(photographs: Bytes, classes: Classes, name: str) -> None:
    """Two epochs, and seeds that agree modulo 2^32 and 2^64: every plan and every image stack is another."""
    keys = [derive(root_of(seed), "release", epoch) for seed, epoch in ((0, 0), (0, 1), (2**32, 0), (2**64, 0))]

    made = [released(name, photographs, classes, key) for key in keys]

    assert len({release.images.numpy().tobytes() for release, _ in made}) == len(keys)
    assert len({secret.sources.tobytes() for _, secret in made}) == len(keys)


@pytest.mark.parametrize("step", [2**32, 2**64])
def test_seeds_that_agree_modulo_a_word_share_no_noise(photographs: Bytes, classes: Classes, step: int) -> None:
    noises = [
        noise_of(
            *released("noise_mix", photographs, classes, derive(root_of(seed), "release", 0), weights=[1.0]),
            photographs,
        )
        for seed in (3, 3 + step)
    ]

    assert abs(np.corrcoef(noises[0].ravel(), noises[1].ravel())[0, 1]) < 0.02


def test_chunks_do_not_share_their_noise() -> None:
    """On grey images; rows as far apart as a chunk is long would repeat if the chunks shared a generator."""
    images = np.full((200, 3, 64, 64), 128, np.uint8)
    step = chunk_size(1, images.shape, "cpu")

    release, secret = released("noise_mix", images, np.zeros(200, np.int64), weights=[1.0])

    noise = noise_of(release, secret, images)
    assert step < 100
    for start in range(0, 200 - 2 * step, step):
        some, others = noise[start : start + step], noise[start + step : start + 2 * step]
        assert abs(np.corrcoef(some.ravel(), others.ravel())[0, 1]) < 4.5 / some.size**0.5


def test_a_chunk_depends_on_the_shape_of_a_mixture_and_the_kind_of_device_alone() -> None:
    assert chunk_size(2, (10, 3, 64, 64), "cpu") == chunk_size(2, (9999, 3, 64, 64), "cpu")
    assert chunk_size(2, (10, 3, 64, 64), "cuda:0") == chunk_size(2, (10, 3, 64, 64), "cuda:1")
    assert chunk_size(128, (10, 3, 2048, 2048), "cpu") == 1


def test_defenses_are_compared_on_the_same_plan() -> None:
    """Knobs and the transform have no part in who is mixed with whom, nor in who wins a tie."""
    images, labels = tiny(60)

    secrets = [
        released(name, images, labels, weights=[0.5, 0.5], **knobs)[1]
        for name, knobs in (
            ("mix", {}),
            ("noise_mix", {"sigma": 5}),
            ("noise_mix", {"sigma": 40}),
            ("shuffle_mix", {"block": 2}),
        )
    ]

    for other in secrets[1:]:
        assert np.array_equal(secrets[0].sources, other.sources)
        assert np.array_equal(secrets[0].dominant, other.dominant)


def test_the_most_distorting_weight_for_squared_error_is_a_half(photographs: Bytes, classes: Classes) -> None:
    """Closed form: the errors are (1 - lambda)^2 |a - b|^2 and lambda^2 |a - b|^2, so the smaller peaks at 1/2."""
    mixing = {**SHOWN, "weights": "distortion"}
    function = bind(REGISTRY.get("defenses", "mix"))

    _, secret = obfuscate(
        Scheme("mix", function, mixing, lambda x, y: (x - y).square().mean((1, 2, 3))), photographs, classes, 3, KEY
    )

    np.testing.assert_allclose(secret.shares, 0.5)


# ---- defenses that break the contract --------------------------------------------------------------------------------


def nan(sources: torch.Tensor, weights: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    return average(sources, weights).where(torch.rand(4, 4, generator=rng) > 0.1, torch.tensor(float("nan")))


BROKEN = {
    "NaN": (nan, "holds NaN or infinity"),
    "infinity": (lambda sources, weights, rng: average(sources, weights) / 0, "holds NaN or infinity"),
    "too few": (lambda sources, weights, rng: average(sources, weights)[1:], r"returns torch.float32 \(50, 3, 4, 4\)"),
    "smaller": (
        lambda sources, weights, rng: average(sources, weights)[..., :2],
        r"returns torch.float32 \(50, 3, 4, 4\)",
    ),
    "unmixed": (lambda sources, weights, rng: sources, r"returns torch.float32 \(50, 3, 4, 4\)"),
    "bytes": (lambda sources, weights, rng: average(sources, weights).byte(), r"returned images of torch.uint8"),
    "not images": (lambda sources, weights, rng: None, "returned images of NoneType"),
    "NaN shares": (lambda sources, weights, rng: Mixture(average(sources, weights), weights * float("nan")), "shares"),
    "shares": (
        lambda sources, weights, rng: Mixture(average(sources, weights), weights[:, :1]),
        r"shares of torch.float32 \(50, 1\); .* \(50, 2\)",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_defense_is_named_with_its_fault(fault: str) -> None:
    function, message = BROKEN[fault]

    with pytest.raises(HarnessError, match=f"^crooked: .*{message}"):
        obfuscate(Scheme("crooked", function, {**SHOWN, "weights": [0.5, 0.5]}), *tiny(50), 10, KEY)


def test_the_message_for_a_wrong_knob_names_the_defense() -> None:
    """Both when releasing and when trying out beforehand."""
    with pytest.raises(HarnessError, match=r"^shuffle_mix: block 3 does not divide 4x4"):
        released("shuffle_mix", *tiny(5), block=3)
    with pytest.raises(HarnessError, match=r"^blur_mix: kernel 4 does not suit 64x48"):
        try_out(scheme("blur_mix", kernel=4), (64, 48))


@pytest.mark.parametrize("name", DEFENSES)
def test_originals_are_never_written_to(photographs: Bytes, classes: Classes, name: str) -> None:
    """A tensor that torch could write to, as it lives on the device; the array behind the fixture refuses writes."""
    images, labels = as_tensor(photographs), classes.copy()

    released(name, images, labels)

    assert np.array_equal(images.numpy(), photographs)
    assert np.array_equal(labels, classes)


def test_originals_stay_when_a_defense_writes_into_its_sources(photographs: Bytes, classes: Classes) -> None:
    images = as_tensor(photographs)

    obfuscate(Scheme("rude", lambda sources, weights, rng: sources.zero_()[:, 0], SHOWN), images, classes, 3, KEY)

    assert np.array_equal(images.numpy(), photographs)


# ---- devices ---------------------------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
@pytest.mark.parametrize("name", ["none", "mix", "pixelize_mix", "blur_mix"])
def test_both_devices_release_the_same_images_within_one_grey_level(
    photographs: Bytes, classes: Classes, name: str
) -> None:
    """The plan is NumPy's on every device; the transforms without random draws round alike except for the last bit."""
    here, there = (obfuscate(scheme(name), photographs, classes, 3, KEY, device) for device in ("cpu", "cuda"))

    assert np.array_equal(here[1].sources, there[1].sources)
    assert torch.equal(here[0].labels, there[0].labels)
    assert (here[0].images.int() - there[0].images.cpu().int()).abs().max() <= 1
