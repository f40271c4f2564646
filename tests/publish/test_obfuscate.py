"""What `harness obfuscate` publishes, checked with the secret and the originals."""

from __future__ import annotations

import csv
import stat

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.helpers.paths import DATASETS
from tests.helpers.planted import CLASSES, picture_folder
from tests.publish.conftest import EACH, obfuscate

REAL = DATASETS / "imagenette10_96/train"


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


def test_noise_mix_adds_noise_of_its_sigma(folder, tmp_path):
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
    mixture = stack.mean(1)  # the weights in the secret are the shares that grafting returned
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


def test_nothing_but_pixels_and_classes_is_published(pictures, tmp_path):
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


def test_names_and_their_order_do_not_correlate_with_the_originals(pictures, tmp_path):
    """Over many epochs the rank of a file's name is not correlated with the rank of its original's."""
    assert obfuscate(pictures, tmp_path, "--epochs", "40") == 0

    secret = np.load(tmp_path / "secret.npz")
    rank = np.argsort(np.argsort([file.split("/")[-1] for file in secret["file"]]))
    place = np.searchsorted(np.unique(secret["sources"]), secret["sources"][:, 0])
    correlation = np.corrcoef(rank, place)[0, 1]
    assert abs(correlation) < 4 / np.sqrt(len(rank))


def test_the_secret_is_readable_by_its_owner_alone_and_holds_all_that_undoes_the_release(pictures, tmp_path):
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


def test_soft_labels_are_in_one_table_and_no_folder_names_a_class(pictures, tmp_path):
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


def test_the_suggested_command_has_the_size_of_the_release(pictures, tmp_path, capsys):
    assert obfuscate(pictures, tmp_path, "--epochs", "2", "--size", "16") == 0

    assert "--size 16" in capsys.readouterr().err
