"""A challenge is drawn from the operating system's randomness, and its secret alone says who was mixed with whom."""

from __future__ import annotations

import json
import shutil
import stat
import zipfile

import cv2
import numpy as np
import pytest

from harness.cli import main
from harness.data.load import load
from harness.randomness import derive, root_of
from harness.registry import load_registry
from harness.release import obfuscate
from tests.helpers.planted import picture_folder

EPOCHS = 2
KNOBS = ["--defense", "noise_mix", "-D", "sigma=20"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Pictures, a row's records and two challenges of that row."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("challenge")
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        data = [*KNOBS, "--dataset", str(picture_folder(root / "stripes", each=12)), "--epochs", str(EPOCHS)]
        run = ["--attack", "smooth", "--no-utility", "--workers", "1", "--records", str(root / "records")]
        assert main(["run", *data, *run]) == 0
        for name in ("one", "two"):
            assert main(["external", "release", *data, "--out", str(root / name)]) == 0
        yield root


@pytest.fixture
def score(place, tmp_path, monkeypatch, capsys):
    """score(options...) -> exit code, stdout, stderr: of the release itself as a submission, with secret one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / "cache"))
    shutil.copytree(place / "records", tmp_path / "records")

    one = place / "one.secret.npz", place / "one/epoch_000"

    def call(*more, secret=one[0], data=place / "stripes", submission=one[1], knobs=KNOBS):
        words = [*knobs, "--dataset", str(data), "--epochs", str(EPOCHS), "--records", str(tmp_path / "records")]
        words += ["--name", "Doe", "--reconstructions", str(submission), "--json"]
        words += ["--secret", str(secret)] if secret else []
        capsys.readouterr()
        code = main(["external", "score", *words, *more])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def refused(answer, *words):
    code, out, err = answer
    assert (code, out) == (2, ""), err
    (line,) = err.splitlines()
    assert line.startswith("harness: ") and all(word in line for word in words), line


def released(folder, epoch=0):
    """(N, 3, H, W) uint8 of one epoch."""
    files = sorted((folder / f"epoch_{epoch:03d}").glob("*.png"))
    return np.stack([cv2.imread(str(file))[:, :, ::-1].transpose(2, 0, 1) for file in files])


def made_from(place, root, epoch=0):
    """The release that a root makes of the row's own originals, and its secret: all that an insider could know."""
    registry = load_registry()
    from harness.client.client import scheme_of

    defense = registry.get("defenses", "noise_mix").with_settings({"sigma": 20})
    private = load(place / "stripes", cache=place / "cache/obfuscation-harness").private
    key = derive(root, "release", epoch)
    return obfuscate(scheme_of(defense, registry), private.images, private.labels, len(private.classes), key)


def test_the_secret_makes_the_files_and_no_public_seed_does(place):
    """Even with the originals at hand, and every seed from 0 to 49."""
    root = np.load(place / "one.secret.npz")["root"].tobytes()
    files = [released(place / "one", epoch) for epoch in range(EPOCHS)]

    for epoch in range(EPOCHS):
        release, secret = made_from(place, root, epoch)
        assert np.array_equal(release.images.numpy(), files[epoch])
        for seed in range(50):
            other, drawn = made_from(place, root_of(seed), epoch)
            assert not np.array_equal(other.images.numpy(), files[epoch])
            assert (drawn.sources == secret.sources).all(1).mean() < 0.4


def test_no_two_challenges_are_alike(place):
    roots = [np.load(place / f"{name}.secret.npz")["root"].tobytes() for name in ("one", "two")]

    assert len(set(roots)) == 2 and all(len(root) == 16 for root in roots)
    assert not np.array_equal(released(place / "one"), released(place / "two"))


def test_the_secret_is_for_its_owner_and_not_in_the_release(place):
    assert stat.S_IMODE((place / "one.secret.npz").stat().st_mode) == 0o600
    assert not list((place / "one").rglob("*.npz"))
    names = {path.name for path in (place / "one").iterdir()}
    assert names == {"epoch_000", "epoch_001", "labels_000.csv", "labels_001.csv"}
    assert len({path.stat().st_mtime_ns for path in (place / "one").rglob("*")}) == 1


def test_it_is_scored_by_its_secret_and_joins_the_row(score):
    code, out, err = score()

    assert code == 0, err
    assert json.loads(out)["attack"] == "external:Doe"


def test_each_challenge_has_its_own_entry(place, score):
    one = json.loads(score()[1])
    two = json.loads(score(secret=place / "two.secret.npz", submission=place / "two/epoch_000")[1])

    assert one["release"] != two["release"] and one["record"] != two["record"]


def test_a_challenge_of_an_older_form_is_one_line_with_the_fix(score):
    refused(score(secret=None), "--secret", "hand out a new one")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("-D", "weights=0.9,0.1"), "mixing"),
        (("--epochs", "3"), "releases"),
        (("--releases", "1"), "releases"),
        (("--seed", "7"), "seed"),
        (("--size", "24"), "images"),
        (("--limit", "9"), "images"),
        (("--public-share", "0"), "images"),
    ],
)
def test_options_other_than_the_releases_are_refused(score, more, said):
    refused(score(*more), said, "these options say")


def test_other_knobs_and_defenses_are_refused(score):
    refused(score(knobs=[*KNOBS[:-1], "sigma=30"]), "params", "these options say")
    refused(score(knobs=["--defense", "mix"]), "defense", "these options say")


def test_other_originals_are_refused(tmp_path, score):
    data = picture_folder(tmp_path / "stripes", each=12)
    some = sorted(data.rglob("*.png"))[0]
    cv2.imwrite(str(some), 255 - cv2.imread(str(some)))

    refused(score(data=data), "images")


def changed(place, file, change):
    """The secret with other arrays, in `file`."""
    arrays = dict(np.load(place / "one.secret.npz"))
    change(arrays)
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, np.asarray(array))
    return file


def another_root(arrays):
    arrays["root"] = arrays["root"] ^ 1


def another_hash(arrays):
    arrays["hash"] = np.array("0" * 32)


def short_root(arrays):
    arrays["root"] = arrays["root"][:8]


def root_of_numbers(arrays):
    arrays["root"] = np.zeros(16, np.int64)


def no_root(arrays):
    del arrays["root"]


def no_json(arrays):
    arrays["about"] = np.array("{")


def about_list(arrays):
    arrays["about"] = np.array("[1]")


def about_lacks(arrays):
    arrays["about"] = np.array('{"harness": "1"}')


def about_deep(arrays):
    arrays["about"] = np.array("[" * 100_000)


def about_wrong(arrays):
    arrays["about"] = np.array(json.dumps(json.loads(str(arrays["about"])) | {"seed": "x"}))


def about_more(arrays):
    arrays["about"] = np.array(json.dumps(json.loads(str(arrays["about"])) | {"surprise": 1}))


CHANGES = [another_root, another_hash, short_root, root_of_numbers, no_root, no_json, about_list, about_lacks]
CHANGES += [about_deep, about_wrong, about_more]


@pytest.mark.parametrize("change", CHANGES)
def test_a_secret_that_is_not_as_it_was_written_is_one_line(place, tmp_path, score, change):
    file = changed(place, tmp_path / "changed.npz", change)

    refused(score(secret=file), str(file))


@pytest.mark.parametrize("region", range(0, 100, 9))
def test_a_secret_with_a_flipped_bit_scores_nothing_else(place, tmp_path, score, region):
    """Nearly every bit is under a checksum of the zip archive; the others change nothing."""
    data = bytearray((place / "one.secret.npz").read_bytes())
    data[len(data) * region // 100] ^= 16
    (tmp_path / "flipped.npz").write_bytes(bytes(data))
    answer = score(secret=tmp_path / "flipped.npz")

    if answer[0] == 0:
        assert json.loads(answer[1])["release"] == json.loads(score()[1])["release"]
    else:
        refused(answer, "flipped.npz")


def test_a_clients_secret_is_not_that_of_a_challenge(place, tmp_path, score):
    words = ["--dataset", str(place / "stripes"), "--out", str(tmp_path / "own"), "--secret", str(tmp_path / "s.npz")]
    assert main(["obfuscate", *KNOBS, *words]) == 0

    refused(score(secret=tmp_path / "s.npz"), "s.npz", "--release")
    refused(score("--release", str(place / "one")), "one.secret.npz")


def test_half_of_what_a_clients_release_needs_is_refused(place, score):
    refused(score("--release", str(place / "one"), secret=None), "--release and --secret belong together")


def test_a_challenge_of_a_row_that_was_never_run_is_refused(place, tmp_path, score, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / "cache"))
    words = [*KNOBS, "-D", "weights=0.9,0.1", "--dataset", str(place / "stripes"), "--epochs", str(EPOCHS)]
    assert main(["external", "release", *words, "--out", str(tmp_path / "other")]) == 0

    secret = tmp_path / "other.secret.npz"
    refused(
        score("-D", "weights=0.9,0.1", secret=secret, submission=tmp_path / "other/epoch_000"), "run that row first"
    )


# Where it is written


@pytest.fixture
def release(place, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / "cache"))
    (tmp_path / "to").mkdir()

    def call(*more):
        capsys.readouterr()
        words = [*KNOBS, "--dataset", str(place / "stripes"), "--epochs", "1", "--out", str(tmp_path / "to/out")]
        code = main(["external", "release", *words, *more])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.mark.parametrize("where", ["out/s.npz", "out", "s.npz", "no/s.npz"])
def test_a_secret_is_never_published_nor_overwritten(tmp_path, release, where):
    (tmp_path / "to/s.npz").write_bytes(b"of another release")

    refused(release("--secret", str(tmp_path / "to" / where)), where)
    assert [path.name for path in (tmp_path / "to").iterdir()] == ["s.npz"]
    assert (tmp_path / "to/s.npz").read_bytes() == b"of another release"


@pytest.mark.parametrize("moment", ["write_images", "secret_of", "set_equal_times"])
def test_a_release_that_fails_leaves_neither_files_nor_secret(tmp_path, release, monkeypatch, moment):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"harness.publish.challenge.{moment}", stop)

    assert release()[0] == 130
    assert list((tmp_path / "to").iterdir()) == []


def test_the_current_folder_can_be_the_release(tmp_path, release, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    assert release("--out", ".")[0] == 0
    assert (tmp_path / "here.secret.npz").is_file() and (tmp_path / "here/epoch_000").is_dir()


def test_a_challenge_among_the_originals_is_refused(place, release):
    refused(release("--out", str(place / "stripes/out")), "inside the originals")


def test_its_place_is_said(tmp_path, release):
    code, out, _ = release("--secret", str(tmp_path / "kept.npz"), "--json")

    assert code == 0 and json.loads(out)["secret"] == str(tmp_path / "kept.npz")
    assert (tmp_path / "kept.npz").is_file()
