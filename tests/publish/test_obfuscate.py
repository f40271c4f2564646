"""What `harness obfuscate` lets leave, checked from the secret and the originals; and that it is all or nothing."""

from __future__ import annotations

import csv
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from harness.cli import main
from harness.data.decode import decode_into
from tests.helpers.paths import DATASETS, ROOT
from tests.helpers.planted import CLASSES, picture_folder

REAL = DATASETS / "imagenette10_96/train"
EACH = 8  # images per class


@pytest.fixture(scope="module", params=["planted", "imagenette"])
def folder(request, tmp_path_factory):
    """Three classes of images in one size: planted stripes, and photographs where they are at hand."""
    root = tmp_path_factory.mktemp("client") / "pictures"
    if request.param == "planted":
        return picture_folder(root, each=EACH, size=32)
    if not REAL.is_dir():
        pytest.skip(f"no photographs in {REAL}; set HARNESS_DATASETS")
    for label in sorted(REAL.iterdir())[:3]:
        (root / label.name).mkdir(parents=True)
        for file in sorted(label.iterdir())[:EACH]:
            (root / label.name / file.name).symlink_to(file)
    return root


@pytest.fixture
def pictures(tmp_path):
    return picture_folder(tmp_path / "pictures", each=EACH)


def obfuscate(folder, place, *options, defense="mix", seed="5"):
    seeded = [] if seed is None else ["--seed", seed]
    out, secret = place / "out", place / "secret.npz"
    told = ["--dataset", str(folder), "--out", str(out), "--secret", str(secret)]
    return main(["obfuscate", "--defense", defense, *told, *seeded, *options])


def released(place):
    """(M, H, W, 3) float64 releases in the order of the secret, and the secret."""
    secret = np.load(place / "secret.npz")
    return np.stack([np.asarray(Image.open(place / "out" / file), np.float64) for file in secret["file"]]), secret


def originals(folder, secret):
    """(M, k, H, W, 3) float64: the files that the secret names."""
    return np.stack(
        [
            np.stack([np.asarray(Image.open(folder / n).convert("RGB"), np.float64) for n in row])
            for row in secret["sources"]
        ]
    )


def mixtures(folder, secret):
    return np.einsum("nk,nkhwc->nhwc", secret["weights"].astype(np.float64), originals(folder, secret))


def test_mix_is_the_weighted_mean_of_the_files_that_the_secret_names(folder, tmp_path):
    assert obfuscate(folder, tmp_path, "-D", "weights=0.75,0.25", "--epochs", "2") == 0

    images, secret = released(tmp_path)

    assert len(images) == 2 * 3 * EACH
    assert np.abs(images - mixtures(folder, secret)).max() <= 1


def test_pixelize_mix_agrees_with_opencv(folder, tmp_path):
    assert obfuscate(folder, tmp_path, "-D", "grid=8", defense="pixelize_mix") == 0

    images, secret = released(tmp_path)

    for image, mixture in zip(images, mixtures(folder, secret), strict=True):
        small = cv2.resize(mixture, (8, 8), interpolation=cv2.INTER_AREA)
        assert np.abs(image - cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)).max() <= 1


def test_blur_mix_agrees_with_opencv(folder, tmp_path):
    assert obfuscate(folder, tmp_path, "-D", "kernel=11", defense="blur_mix") == 0

    images, secret = released(tmp_path)

    for image, mixture in zip(images, mixtures(folder, secret), strict=True):
        blurred = cv2.GaussianBlur(mixture, (11, 11), 0.3 * (5 - 1) + 0.8, borderType=cv2.BORDER_REFLECT_101)
        assert np.abs(image - blurred).max() <= 1


def test_noise_mix_leaves_noise_of_the_promised_strength(folder, tmp_path):
    assert obfuscate(folder, tmp_path, "-D", "sigma=20", defense="noise_mix") == 0

    images, secret = released(tmp_path)

    expected = mixtures(folder, secret)
    residual = (images - expected)[(expected > 80) & (expected < 175)]  # where nothing is clipped
    sigma = np.sqrt((20**2 * np.square(secret["weights"][0]).sum()) + 1 / 12)
    error = sigma / np.sqrt(len(residual))
    assert abs(residual.mean()) < 4 * error
    assert abs(residual.std() - sigma) < 4 * error / np.sqrt(2)


def test_shuffle_mix_keeps_every_blocks_mean_and_moves_its_pixels(folder, tmp_path):
    assert obfuscate(folder, tmp_path, "-D", "block=8", defense="shuffle_mix") == 0

    images, secret = released(tmp_path)
    expected = mixtures(folder, secret)

    def means(stack):
        n, height, width, _ = stack.shape
        return stack.reshape(n, height // 8, 8, width // 8, 8, 3).mean((2, 4))

    assert np.abs(means(images) - means(expected)).max() <= 0.5
    assert np.abs(images - expected).mean() > 5


def test_graft_mix_takes_each_pixel_from_the_original_or_the_mixture(folder, tmp_path):
    assert obfuscate(folder, tmp_path, "-D", "p=0.7", defense="graft_mix") == 0

    images, secret = released(tmp_path)

    stack = originals(folder, secret)
    mixture = stack.mean(1)  # the weights in the secret are the shares that grafting left
    whole = np.abs(images - stack[:, 0]).max(-1) <= 0.5
    mixed = np.abs(images - mixture).max(-1) <= 1
    assert (whole | mixed).all()
    told_apart = np.abs(stack[:, 0] - mixture).max(-1) > 2
    share, n = whole[told_apart].mean(), told_apart.sum()
    assert abs(share - 0.7) < 4 * np.sqrt(0.21 / n)
    np.testing.assert_allclose(secret["weights"], [[0.85, 0.15]] * len(images), atol=1e-6)


def test_labels_are_those_of_the_dominant_file(folder, tmp_path):
    assert obfuscate(folder, tmp_path, "--epochs", "3") == 0

    secret = np.load(tmp_path / "secret.npz")
    dominant = secret["sources"][np.arange(len(secret["file"])), secret["dominant"]]
    assert [file.split("/")[1] for file in secret["file"]] == [name.split("/")[0] for name in dominant]
    assert [file.split("/")[0] for file in secret["file"]] == [f"epoch_{epoch:03d}" for epoch in secret["epoch"]]
    assert {len(set(secret["sources"][secret["epoch"] == epoch, 0])) for epoch in range(3)} == {3 * EACH}


def test_nothing_but_pixels_and_classes_leaves(pictures, tmp_path):
    assert obfuscate(pictures, tmp_path, "--epochs", "2") == 0

    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    secret = np.load(tmp_path / "secret.npz")
    assert sorted(str(file.relative_to(tmp_path / "out")) for file in files) == sorted(secret["file"])
    names = [file.stem for file in files]
    assert all(len(name) == 12 and name.isdigit() for name in names)
    assert len(set(names)) == len(names)
    for file in files:
        assert chunks(file.read_bytes()) <= {b"IHDR", b"IDAT", b"IEND"}
    everything = [tmp_path / "out", *(tmp_path / "out").rglob("*")]
    assert len({path.stat().st_mtime_ns for path in everything}) == 1


def chunks(png):
    """The kinds of chunk in a PNG file, read by hand."""
    found, place = set(), 8
    while place < len(png):
        length = int.from_bytes(png[place : place + 4], "big")
        found.add(png[place + 4 : place + 8])
        place += 12 + length
    return found


def test_names_and_their_order_say_nothing_of_the_originals(pictures, tmp_path):
    """Over many epochs the rank of a file's name is not correlated with the rank of its original's."""
    assert obfuscate(pictures, tmp_path, "--epochs", "40") == 0

    secret = np.load(tmp_path / "secret.npz")
    rank = np.argsort(np.argsort([file.split("/")[-1] for file in secret["file"]]))
    place = np.searchsorted(np.unique(secret["sources"]), secret["sources"][:, 0])
    correlation = np.corrcoef(rank, place)[0, 1]
    assert abs(correlation) < 4 / np.sqrt(len(rank))


def test_the_secret_is_its_owners_alone_and_holds_what_undoes_the_release(pictures, tmp_path):
    assert obfuscate(pictures, tmp_path, seed=None) == 0

    secret = np.load(tmp_path / "secret.npz")
    assert stat.S_IMODE((tmp_path / "secret.npz").stat().st_mode) == 0o600
    assert set(secret.files) >= {"epoch", "file", "sources", "weights", "root"}
    assert secret["root"].nbytes * 8 == 128
    assert all((pictures / name).is_file() for name in secret["sources"].ravel())


def test_a_seed_repeats_a_release_and_warns(pictures, tmp_path, capsys):
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        assert obfuscate(pictures, tmp_path / place, defense="noise_mix") == 0

    assert "for tests" in capsys.readouterr().err
    one, two = (np.load(tmp_path / place / "secret.npz") for place in ("a", "b"))
    assert (one["file"] == two["file"]).all()
    assert all((tmp_path / "a/out" / f).read_bytes() == (tmp_path / "b/out" / f).read_bytes() for f in one["file"])


def test_without_a_seed_no_two_releases_are_alike(pictures, tmp_path, capsys):
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        assert obfuscate(pictures, tmp_path / place, seed=None) == 0

    assert "for tests" not in capsys.readouterr().err
    one, two = (np.load(tmp_path / place / "secret.npz") for place in ("a", "b"))
    assert bytes(one["root"]) != bytes(two["root"])
    assert not set(one["file"]) & set(two["file"])


def test_soft_labels_stand_in_one_table_and_no_folder_tells_a_class(pictures, tmp_path):
    assert obfuscate(pictures, tmp_path, "-D", "label=soft", "-D", "weights=0.75,0.25", "--epochs", "2") == 0

    with (tmp_path / "out/labels.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    secret = np.load(tmp_path / "secret.npz")
    sources = dict(zip(secret["file"], secret["sources"], strict=True))
    assert len(rows) == 2 * 3 * EACH
    assert [row["file"] for row in rows] == sorted(sources)
    for row in rows:
        expected = dict.fromkeys(CLASSES, 0.0)
        for name, weight in zip(sources[row["file"]], (0.75, 0.25), strict=True):
            expected[name.split("/")[0]] += weight
        assert {label: float(row[label]) for label in CLASSES} == expected
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"epoch_000", "epoch_001", "labels.csv"}
    assert all(path.suffix == ".png" for path in (tmp_path / "out/epoch_000").iterdir())


def test_several_releases_are_announced_as_linkable(pictures, tmp_path, capsys):
    assert obfuscate(pictures, tmp_path, "--epochs", "2") == 0

    assert "--attack multi_release --epochs 2" in capsys.readouterr().err


def not_empty(place, pictures):
    (place / "out").mkdir()
    (place / "out/mine.txt").write_text("mine")
    return {}


def secret_inside(place, pictures):
    (place / "out").mkdir()
    return {"--secret": place / "out/secret.npz"}


def secret_inside_by_a_link(place, pictures):
    (place / "out").mkdir()
    (place / "link").symlink_to(place / "out")
    return {"--secret": place / "link/secret.npz"}


def secret_is_the_folder(place, pictures):
    return {"--secret": place / "out"}


def secret_there(place, pictures):
    (place / "secret.npz").write_text("of another release")
    return {}


def no_parent(place, pictures):
    return {"--out": place / "nowhere/out"}


def a_file(place, pictures):
    (place / "out").write_text("mine")
    return {}


def no_epochs(place, pictures):
    return {"--epochs": 0}


def two_roles(place, pictures):
    for role in ("train", "test"):
        picture_folder(place / "both" / role)
    return {"--dataset": place / "both"}


def no_folder(place, pictures):
    return {"--dataset": place / "photos"}


def no_classes(place, pictures):
    (place / "flat").mkdir()
    return {"--dataset": place / "flat"}


def wrong_knob(place, pictures):
    return {"-D": "block=4"}


def too_few(place, pictures):
    return {"-D": "weights=" + ",".join(["0.02"] * 50)}


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (not_empty, "not empty"),
        (secret_inside, "inside the release"),
        (secret_inside_by_a_link, "inside the release"),
        (secret_is_the_folder, "inside the release"),
        (secret_there, "there already"),
        (no_parent, "there is no folder"),
        (a_file, "is a file"),
        (no_epochs, "1 or more"),
        (two_roles, "both/train"),
        (no_folder, "does not exist"),
        (no_classes, "no class folders"),
        (wrong_knob, "block"),
        (too_few, "fewer than the 50 sources"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(prepare, said, pictures, tmp_path, capsys):
    place = tmp_path / "place"
    place.mkdir()
    changed = {str(key): str(value) for key, value in prepare(place, pictures).items()}
    before = {path: path.read_bytes() if path.is_file() else None for path in place.rglob("*")}
    options = {"--defense": "mix", "--dataset": str(pictures), "--out": str(place / "out")}
    options |= {"--secret": str(place / "secret.npz"), **changed}

    code = main(["obfuscate", *(word for pair in options.items() for word in pair)])

    error = capsys.readouterr().err
    assert code == 2
    assert len(error.strip().splitlines()) == 1
    assert said in error
    assert {path: path.read_bytes() if path.is_file() else None for path in place.rglob("*")} == before


@pytest.mark.parametrize("moment", ["decode_into", "obfuscate", "write_images", "write_secret"])
def test_an_interrupted_run_leaves_nothing(moment, pictures, tmp_path, monkeypatch, capsys):
    def stop(*_):
        raise KeyboardInterrupt

    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.setattr(f"harness.publish.obfuscate.{moment}", stop)

    assert obfuscate(pictures, place) == 130
    assert "begins anew" in capsys.readouterr().err
    assert list(place.iterdir()) == []


def test_an_interruption_after_the_release_has_its_name_leaves_the_secret(pictures, tmp_path, monkeypatch):
    """The only key to what is out is never removed."""
    place = tmp_path / "place"
    place.mkdir()

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("harness.system.files.shutil.rmtree", stop)

    assert obfuscate(pictures, place) == 130
    assert sorted(path.name for path in place.iterdir()) == ["out", "secret.npz"]


def test_a_link_to_an_empty_folder_is_that_folder(pictures, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "there")

    assert obfuscate(pictures, tmp_path) == 0
    assert (tmp_path / "there/epoch_000").is_dir()


def test_a_disk_without_links_takes_the_secret_too(pictures, tmp_path, monkeypatch):
    def refused(*_):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)

    assert obfuscate(pictures, tmp_path) == 0
    assert stat.S_IMODE((tmp_path / "secret.npz").stat().st_mode) == 0o600


def test_originals_have_no_name_in_scratch_space_while_they_are_decoded(pictures, tmp_path, monkeypatch):
    """So that nothing is left of them, even by SIGKILL."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    seen = []

    def looking(*given):
        found = decode_into(*given)
        seen.extend((tmp_path / "scratch").iterdir())
        return found

    monkeypatch.setattr("harness.publish.obfuscate.decode_into", looking)

    assert obfuscate(pictures, tmp_path) == 0
    assert seen == []


def test_the_command_that_judges_has_the_size_of_the_release(pictures, tmp_path, capsys):
    assert obfuscate(pictures, tmp_path, "--epochs", "2", "--size", "16") == 0

    assert "--size 16" in capsys.readouterr().err


def test_a_full_disk_is_one_line_and_nothing_is_released(pictures, tmp_path, monkeypatch, capsys):
    def full(self, data):
        raise OSError(28, "No space left on device", str(self))

    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.setattr(Path, "write_bytes", full)

    assert obfuscate(pictures, place, seed=None) == 2
    assert "No space left" in capsys.readouterr().err
    assert list(place.iterdir()) == []


def test_a_folder_that_cannot_get_its_name_takes_the_secret_with_it(pictures, tmp_path, monkeypatch):
    place = tmp_path / "place"
    place.mkdir()

    def someone_was_faster(self, target):
        target.mkdir()
        (target / "theirs").write_text("theirs")
        return os.rename(self, target)

    monkeypatch.setattr(Path, "rename", someone_was_faster)

    assert obfuscate(pictures, place) == 2
    assert [path.name for path in place.iterdir()] == ["out"]
    assert [path.name for path in (place / "out").iterdir()] == ["theirs"]


def test_a_killed_run_is_swept_away_by_the_next(pictures, tmp_path, monkeypatch):
    """What SIGKILL leaves is no release; the same command then makes a whole one of a single root."""
    place = tmp_path / "place"
    place.mkdir()
    words = ["--dataset", str(pictures), "--out", str(place / "out"), "--secret", str(place / "secret.npz")]
    command = [sys.executable, "-m", "harness.cli", "obfuscate", "--defense", "mix", "--epochs", "2000", *words]
    running = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    partial = place / ".out.partial"
    deadline = time.monotonic() + 300
    while not (partial / "epoch_003").is_dir() and time.monotonic() < deadline and running.poll() is None:
        time.sleep(0.02)
    assert (partial / "epoch_003").is_dir()

    busy = obfuscate(pictures, place)  # another run is at it
    running.send_signal(signal.SIGKILL)
    running.wait()
    left = [path.name for path in place.iterdir()]
    again = obfuscate(pictures, place)

    assert busy == 2
    assert sorted(left) == [".out.lock", ".out.partial"]
    assert again == 0
    assert sorted(path.name for path in place.iterdir()) == ["out", "secret.npz"]
    files = [str(path.relative_to(place / "out")) for path in (place / "out").rglob("*.png")]
    assert sorted(files) == sorted(np.load(place / "secret.npz")["file"])
