"""An attack sees the release and what its entry grants; no object that it can reach leads to originals or seeds."""

from __future__ import annotations

import gc
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.errors import HarnessError, NotGranted
from harness.randomness import derive, root_of
from harness.types import Dataset
from tests.helpers.planted import attack, bench, splits

GRANTS = ("labels", "releases", "defense", "public")
SEED = 3


def mapped(data: Dataset, file: Path) -> Dataset:
    """The same images in a read-only memory map, as `harness.data.load` hands them out."""
    data.images.tofile(file)
    return replace(data, images=np.memmap(file, np.uint8, mode="r", shape=data.images.shape))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("images_in_cache")


@pytest.fixture(scope="module")
def data(cache):
    whole = splits(private=24, public=12, test=6)
    roles = {role: mapped(getattr(whole, role), cache / f"{role}.bin") for role in ("private", "public", "test")}
    return replace(whole, **roles)


@pytest.fixture(scope="module")
def case(data):
    """A bench, the defense of the releases, its release and what stays with the client."""
    made = bench(None, data, epochs=3)
    noisy = made.registry.get("defenses", "noise_mix")
    return made, noisy, *made.client.release(noisy, SEED, 0)


def see(case, granted, name="the_release"):
    made, noisy, *_ = case
    return made.client.observe(noisy, attack(name, granted=granted), SEED)


# Grants


@pytest.mark.parametrize("grant", [*GRANTS, "gallery"])
def test_what_is_not_granted_raises_and_names_the_grant(case, grant):
    others = tuple(name for name in GRANTS if name != grant)

    for granted in ((), others):
        with pytest.raises(NotGranted, match=rf"reached for {grant}\b.*\n?") as caught:
            getattr(see(case, granted), grant)

        assert "\n" not in str(caught.value)


def test_releases_come_without_labels_where_none_are_granted(case):
    bare, labelled = see(case, ("releases",)), see(case, ("releases", "labels"))

    assert all((release.labels == -1).all() for release in bare.releases)
    assert torch.equal(labelled.releases[0].labels, case[2].labels)


def test_rehearsing_needs_the_defense(case, data):
    with pytest.raises(NotGranted, match="reached for defense"):
        see(case, ("public", "labels", "releases")).rehearse(
            torch.from_numpy(np.array(data.public.images)), data.public.labels, 0
        )


def test_reading_what_is_not_granted_is_a_harness_error():
    """So the command line may say it in one line."""
    assert issubclass(NotGranted, HarnessError)


def test_everything_the_entry_grants_can_be_read(case, data):
    made, noisy, release, secret = case

    seen = see(case, GRANTS)

    assert torch.equal(seen.images, release.images) and torch.equal(seen.labels, release.labels)
    assert np.array_equal(seen.targets, made.client.scored(secret)[0])
    assert len(seen.releases) == made.release_count == 3
    assert torch.equal(seen.releases[0].images, release.images)
    assert len({each.images.numpy().tobytes() for each in seen.releases}) == 3
    assert seen.defense.params == noisy.params and seen.defense.traits == frozenset(noisy.traits)
    assert np.array_equal(seen.public.images.numpy(), data.public.images)
    assert np.array_equal(seen.public.labels, data.public.labels)
    assert seen.sources == 2 and seen.classes == data.classes


# What can be reached from an observation


def reachable(start):
    """Everything that can be reached from an object, but for modules, classes and what functions find globally."""
    found, waiting = {}, [start]
    while waiting:
        thing = waiting.pop()
        if id(thing) in found or isinstance(thing, (types.ModuleType, type, types.CodeType)):
            continue
        found[id(thing)] = thing
        if isinstance(thing, types.FunctionType):
            cells = [cell.cell_contents for cell in thing.__closure__ or ()]
            waiting += [*cells, thing.__defaults__, thing.__kwdefaults__, thing.__dict__]
            continue
        waiting += gc.get_referents(thing)
        if hasattr(thing, "__dict__"):
            waiting += list(vars(thing).values())
        if isinstance(thing, np.ndarray):
            waiting += [thing.base]
    return list(found.values())


def arrays_in(things):
    for thing in things:
        if isinstance(thing, torch.Tensor):
            yield thing.detach().numpy()
        elif isinstance(thing, np.ndarray):
            yield thing


def pictures_in(array):
    """The bytes of each image in an array, of whatever shape (..., 3, H, W)."""
    if array.dtype != np.uint8 or array.ndim < 3:
        return set()
    return {image.tobytes() for image in array.reshape(-1, *array.shape[-3:])}


def test_the_search_enters_closures_and_partials():
    """Else the tests below would prove nothing."""
    from functools import partial

    secret, treasure = np.arange(3), np.arange(4)

    things = reachable({"a": [partial(lambda first: secret, treasure)]})

    assert any(thing is secret for thing in things) and any(thing is treasure for thing in things)


def test_no_original_can_be_reached_from_an_observation(case, data, cache):
    originals = {image.tobytes() for image in data.private.images}

    things = reachable(see(case, GRANTS))

    arrays = list(arrays_in(things))
    assert len(arrays) >= 5  # images, targets, labels, releases, public: the walk went somewhere
    assert not any(np.shares_memory(array, data.private.images) for array in arrays)
    assert not any(pictures_in(array) & originals for array in arrays)
    named = [str(thing) for thing in things if isinstance(thing, (str, Path))]
    assert not [name for name in named if str(cache) in name]  # one file of the cache would lead to its siblings


def test_the_gallery_holds_originals_only_where_granted_and_in_an_order_that_says_nothing(case, data, cache):
    """They are in it by definition; nothing tells which ones they are, nor leads to where they lie."""
    made, *_ = case
    originals = {image.tobytes() for image in data.private.images}

    things = reachable(see(case, (*GRANTS, "gallery")))

    arrays = list(arrays_in(things))
    holding = [array for array in arrays if pictures_in(array) & originals]
    assert len(holding) >= 1 and all(len(array) == 24 + 6 for array in holding)
    assert not any(np.array_equal(array, made.client.gallery.columns) for array in arrays)
    assert not any(np.shares_memory(array, data.private.images) for array in arrays)
    assert not [thing for thing in things if isinstance(thing, (str, Path)) and str(cache) in str(thing)]


def test_writing_into_the_gallery_changes_nothing_for_others(case):
    made, *_ = case
    before = made.client.gallery.images.clone()

    see(case, ("gallery",)).gallery.zero_()

    assert torch.equal(see(case, ("gallery",)).gallery, before) and torch.equal(made.client.gallery.images, before)


def test_no_plan_can_be_reached_from_an_observation(case):
    *_, secret = case
    kept = [secret.sources, secret.sources[:, 0], secret.dominant_rows]

    arrays = list(arrays_in(reachable(see(case, GRANTS))))

    assert not any(np.array_equal(array, plan) for array in arrays for plan in kept)


def test_no_seed_of_the_release_can_be_reached_from_an_observation(case):
    root = root_of(SEED)
    forbidden = {root, *(derive(root, "release", epoch) for epoch in range(3)), derive(root, "training")}

    held = {bytes(thing) for thing in reachable(see(case, GRANTS)) if isinstance(thing, (bytes, bytearray))}

    assert held  # the key of the rehearsals
    assert not forbidden & held


def test_rehearsing_the_originals_themselves_does_not_repeat_the_release(case, data):
    """The adversary's randomness is separate: even with the same images it cannot reproduce the release."""
    _, _, release, _ = case

    rehearsed, _ = see(case, ("defense",)).rehearse(
        torch.from_numpy(np.array(data.private.images)), data.private.labels, 0
    )

    assert not pictures_in(rehearsed.images.numpy()) & pictures_in(release.images.numpy())


def test_all_attacks_get_the_same_rehearsals(case, data):
    """So that they are compared on the same rehearsals, and what several learn alike can be learned once."""
    images = torch.from_numpy(np.array(data.public.images))

    one, other = (
        see(case, ("defense",), name).rehearse(images, data.public.labels, 0)[0] for name in ("nothing", "stop")
    )

    assert torch.equal(one.images, other.images)
    assert not torch.equal(one.images, case[2].images)


# What an attack writes stays its own


def test_writing_into_the_images_changes_nothing_for_others(case, data):
    *_, release, _ = case
    before, public = release.images.clone(), np.array(data.public.images)
    seen = see(case, GRANTS)

    seen.images.zero_()
    seen.labels.zero_()
    seen.releases[0].images.zero_()
    seen.public.images.zero_()
    seen.public.labels[:] = 0

    again = see(case, GRANTS)
    assert torch.equal(release.images, before) and torch.equal(again.images, before)
    assert torch.equal(again.labels, release.labels) and again.labels.any()
    assert torch.equal(again.releases[0].images, before)
    assert np.array_equal(again.public.images.numpy(), public) and again.public.labels.any()


def test_writing_into_the_settings_changes_nothing_for_others(case):
    """Else an attack could switch off a defense for the next attack, and change the name of its record."""
    _, noisy, *_ = case
    seen = see(case, ("defense",))

    try:
        seen.defense.params["sigma"] = 0
        seen.defense.mixing["weights"][0] = 1.0
    except TypeError:
        pass  # read-only will do as well

    assert noisy.params["sigma"] == 20 and noisy.mixing["weights"] == [0.75, 0.25]
    again = see(case, ("defense",))
    assert again.defense.params["sigma"] == 20 and again.defense.mixing["weights"] == [0.75, 0.25]
