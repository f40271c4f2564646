"""An outside submission enters the board where it fits the release, and is refused where it does not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from harness.cli import main
from harness.leaderboard.board import boards
from harness.leaderboard.completeness import missing_requirements
from harness.records import provenance
from harness.records.store import read_all
from harness.report.markdown import page
from tests.helpers.planted import CLASSES, picture_folder

FEW = ["--limit", "24", "--size", "16", "--epochs", "2"]
KNOBS = ["--defense", "noise_mix", "-D", "sigma=60"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Pictures, the records of a row, that row's release, and a client's own release of the same pictures."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("external")
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        data = ["--dataset", str(picture_folder(root / "stripes", each=12))]
        run = ["--attack", "smooth", "--no-utility", "--workers", "1", "--records", str(root / "records")]
        assert main(["run", *KNOBS, *data, *FEW, *run]) == 0
        assert main(["external", "release", *KNOBS, *data, *FEW, "--out", str(root / "row")]) == 0
        own = ["--out", str(root / "own"), "--secret", str(root / "secret.npz"), "--epochs", "2", "--seed", "3"]
        assert main(["obfuscate", *KNOBS, *data, *own]) == 0
        yield root


@pytest.fixture
def score(place, tmp_path, monkeypatch, capsys):
    """score("row" | "own", submission, ...) -> exit code, document or None, stderr; into a copy of the records."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / "cache"))
    shutil.copytree(place / "records", tmp_path / "records")

    def call(whose, submission, *more, kind="--reconstructions", name="Doe 2027", release=None, data=None):
        options = ["--dataset", str(data or place / "stripes"), "--records", str(tmp_path / "records"), "--name", name]
        own = ["--release", str(release or place / "own"), "--secret", str(place / "secret.npz")]
        row = [*KNOBS, *FEW, "--secret", str(place / "row.secret.npz")]
        all_options = [*options, *(own if whose == "own" else row)]
        capsys.readouterr()
        code = main(["external", "score", kind, str(submission), *all_options, *more, "--json"])
        said = capsys.readouterr()
        return code, json.loads(said.out) if said.out else None, said.err

    return call


def files(place, whose) -> list[Path]:
    """The released files of the first epoch."""
    return sorted((place / whose / "epoch_000").rglob("*.png"))


def copied(place, whose, to: Path, change=lambda image: image) -> Path:
    """A folder with a guess for every file of the first epoch: the release itself, changed."""
    to.mkdir(parents=True)
    for path in files(place, whose):
        cv2.imwrite(str(to / path.name), change(cv2.imread(str(path))))
    return to


def smoothed(image):
    """Closer to stripes than their noisy release."""
    return cv2.GaussianBlur(image, (0, 0), 1.2)


def row_of(folder: Path, published: bool):
    (row,) = [
        row
        for board in boards(read_all(folder))
        for row in board.rows
        if row.defense == "noise_mix" and ("release" in row.settings) == published
    ]
    return board_of(folder, row), row


def board_of(folder: Path, wanted):
    return next(b for b in boards(read_all(folder)) if any(row.records == wanted.records for row in b.rows))


def refused(answer, *words):
    code, document, err = answer
    assert (code, document) == (2, None), err
    (line,) = err.splitlines()
    assert line.startswith("harness: ") and all(word in line for word in words), line


@pytest.mark.parametrize("whose", ["row", "own"])
def test_the_release_itself_as_submission_scores_as_the_release(place, tmp_path, score, whose):
    code, document, err = score(whose, copied(place, whose, tmp_path / "guesses"))

    assert code == 0, err
    _, row = row_of(tmp_path / "records", published=whose == "own")
    another_draw = 0.08 if whose == "row" else 1e-6  # of the same defense on the same originals
    assert document["scores"]["attacked_dssim"]["mean"] == pytest.approx(row.scores["dssim"]["mean"], abs=another_draw)
    assert document["attack"] == "external:Doe 2027" and row.worst["dssim"]["attack"] != "external:Doe 2027"


@pytest.mark.parametrize("whose", ["row", "own"])
def test_a_better_reconstruction_lowers_the_row_and_is_named(place, tmp_path, score, whose):
    """The nearest originals themselves are better than `smooth`, which the row has."""
    score(whose, copied(place, whose, tmp_path / "release"))
    _, before = row_of(tmp_path / "records", published=whose == "own")
    guesses = copied(place, whose, tmp_path / "guesses", smoothed)
    strongest = originals(place, whose, guesses)

    code, _, err = score(whose, strongest, "--granted", "defense,releases", "--cite", "Doe 2027, table 1")

    assert code == 0, err
    board, row = row_of(tmp_path / "records", published=whose == "own")
    assert row.worst["dssim"]["mean"] < before.worst["dssim"]["mean"] - 0.1
    assert row.worst["dssim"]["attack"] == "external:Doe 2027"
    assert "external:Doe 2027" in page([board])
    assert {"defense", "releases"} <= set(row.granted)


def originals(place, whose, guesses: Path) -> Path:
    """The folder with every guess replaced by the nearest original."""
    pictures = [cv2.imread(str(path)) for path in sorted((place / "stripes").rglob("*.png"))]
    for path in sorted(guesses.glob("*.png")):
        seen = cv2.imread(str(path)).astype(float)
        nearest = min(pictures, key=lambda picture: ((picture - seen) ** 2).mean())
        cv2.imwrite(str(path), nearest)
    return guesses


def test_a_better_guess_of_a_row_is_scored_on_the_rows_own_originals(place, tmp_path, score):
    """The record joins the row: same originals, and nothing but it is new."""
    before = {record.spec.key for record in read_all(tmp_path / "records")}

    _, document, _ = score("row", copied(place, "row", tmp_path / "guesses", smoothed))

    new = [record for record in read_all(tmp_path / "records") if record.spec.key not in before]
    (release,) = [
        r for r in read_all(tmp_path / "records") if r.spec.kind == "release" and r.spec.names == ["noise_mix"]
    ]
    assert [record.spec.key for record in new] == [document["record"]]
    assert set(new[0].arrays["units"]) == set(release.arrays["units"])


def test_a_published_release_makes_its_own_row_and_does_not_change_the_others(place, tmp_path, score):
    _, before = row_of(tmp_path / "records", published=False)

    score("own", copied(place, "own", tmp_path / "guesses", smoothed))

    board, row = row_of(tmp_path / "records", published=True)
    _, after = row_of(tmp_path / "records", published=False)
    assert after.worst == before.worst
    assert row.missing and row.rank is None
    assert (board.dataset["public"], board.dataset["test"], board.dataset["private"]) == (0, 0, 36)


def test_a_second_submission_under_one_name_stands_beside_the_first(place, tmp_path, score):
    score("row", copied(place, "row", tmp_path / "one"))
    score("row", copied(place, "row", tmp_path / "two", smoothed))
    score("row", copied(place, "row", tmp_path / "again"))

    _, row = row_of(tmp_path / "records", published=False)
    assert len([attack for attack in row.attacks if attack.name == "external:Doe 2027"]) == 2


def test_a_submission_for_one_seed_leaves_the_row_in_the_ranking(place, tmp_path, score):
    """Outside authors need not submit for every seed."""
    score("row", copied(place, "row", tmp_path / "guesses", smoothed))

    _, row = row_of(tmp_path / "records", published=False)
    (group,) = [attack.group for attack in row.attacks if attack.name == "external:Doe 2027"]
    seeds = [SimpleNamespace(inputs={"seed": seed}, facts={}) for seed in range(3)]
    assert not any("external" in text for text in missing_requirements([group], seeds, [], [], 1, {}))


def test_several_guesses_of_one_image_count_with_their_best(place, tmp_path, score):
    guesses = tmp_path / "guesses"
    guesses.mkdir()
    for path in files(place, "row"):
        image = cv2.imread(str(path))
        cv2.imwrite(str(guesses / f"{path.stem}_1.png"), np.full_like(image, 128))
        cv2.imwrite(str(guesses / f"{path.stem}_2.png"), smoothed(image))

    _, both, _ = score("row", guesses)
    _, alone, _ = score("row", copied(place, "row", tmp_path / "alone", smoothed))

    assert both["scores"]["attacked_dssim"]["mean"] <= alone["scores"]["attacked_dssim"]["mean"]


def test_an_array_of_guesses_is_read_by_its_names_whatever_its_order(place, tmp_path, score):
    released = files(place, "own")
    images = np.stack([smoothed(cv2.imread(str(path)))[:, :, ::-1].transpose(2, 0, 1) for path in released])
    order = np.random.default_rng(0).permutation(len(released))
    names = np.array([path.name for path in released])
    np.savez(tmp_path / "guesses.npz", files=names[order], candidates=images[order][:, None])

    _, array, err = score("own", tmp_path / "guesses.npz")
    _, folder, _ = score("own", copied(place, "own", tmp_path / "folder", smoothed))

    assert array is not None, err
    assert array["record"] == folder["record"]  # the same submission


def test_class_scores_are_scored_as_a_recogniser(place, tmp_path, score):
    """The public label of each file, as a score: it is the dominant source's class."""
    lines = ["file," + ",".join(reversed(CLASSES))]
    lines += [
        f"{p.name}," + ",".join(str(int(p.parent.name == c)) for c in reversed(CLASSES)) for p in files(place, "own")
    ]
    (tmp_path / "scores.csv").write_text("\n".join(lines) + "\n")

    code, document, err = score("own", tmp_path / "scores.csv", kind="--scores")

    assert code == 0, err
    assert document["scores"]["top1"]["mean"] == 1


# What is refused


@pytest.mark.parametrize("whose", ["row", "own"])
@pytest.mark.parametrize("wrong", ["one missing", "one more", "another name", "another size", "empty", "no folder"])
def test_guesses_that_do_not_fit_the_release_are_refused(place, tmp_path, score, whose, wrong):
    guesses = copied(place, whose, tmp_path / "guesses")
    first, *_ = sorted(guesses.iterdir())
    if wrong == "one missing":
        first.unlink()
    elif wrong == "one more":
        shutil.copy(first, guesses / "999.png")
    elif wrong == "another name":
        first.rename(guesses / "999.png")
    elif wrong == "another size":
        cv2.imwrite(str(first), np.zeros((8, 8, 3), np.uint8))
    elif wrong == "empty":
        first.write_bytes(b"")
    else:
        guesses = tmp_path / "nowhere"

    words = {"one missing": first.stem, "one more": "999", "another name": "999", "another size": "8x8"}
    refused(score(whose, guesses), words.get(wrong, str(guesses)))
    assert not [r for r in read_all(tmp_path / "records") if "external" in str(r.spec.names)]


def test_more_guesses_than_sources_are_refused(place, tmp_path, score):
    guesses = tmp_path / "guesses"
    guesses.mkdir()
    for path in files(place, "row"):
        for place_ in (1, 2, 3):
            shutil.copy(path, guesses / f"{path.stem}_{place_}.png")

    refused(score("row", guesses), "3 guesses", "2 sources")


@pytest.mark.parametrize("wrong", ["a file is gone", "a file is new", "a pixel is changed", "other originals"])
def test_a_release_that_does_not_belong_to_the_secret_is_refused(place, tmp_path, score, wrong):
    release, data = tmp_path / "own", None
    shutil.copytree(place / "own", release)
    first = sorted((release / "epoch_000").rglob("*.png"))[0]
    if wrong == "a file is gone":
        sorted((release / "epoch_001").rglob("*.png"))[0].unlink()
    elif wrong == "a file is new":
        shutil.copy(first, first.with_name("000000000001.png"))
    elif wrong == "a pixel is changed":
        image = cv2.imread(str(first))
        image[0, 0, 0] ^= 1
        cv2.imwrite(str(first), image)
    else:
        data = picture_folder(tmp_path / "stripes", each=12)
        some = sorted(data.rglob("*.png"))[0]
        cv2.imwrite(str(some), 255 - cv2.imread(str(some)))

    refused(score("own", copied(place, "own", tmp_path / "guesses"), release=release, data=data), str(release))


def test_a_submission_for_another_release_is_refused_by_its_hash(place, tmp_path, score, capsys):
    main(["external", "hash", str(place / "row")])
    right = capsys.readouterr().out.strip()
    guesses = copied(place, "row", tmp_path / "guesses")

    refused(score("row", guesses, "--release-hash", "0" * 32), right)
    assert score("row", guesses, "--release-hash", right)[0] == 0


def test_the_hash_is_of_names_and_pixels_of_all_epochs(place, tmp_path, capsys):
    """Written anew with other compression it is the same; one pixel of the last epoch makes it another."""

    def hashed(folder) -> str:
        assert main(["external", "hash", str(folder)]) == 0
        return capsys.readouterr().out.strip()

    shutil.copytree(place / "row", tmp_path / "row")
    last = sorted((tmp_path / "row").rglob("*.png"))[-1]
    image = cv2.imread(str(last))
    cv2.imwrite(str(last), image, [cv2.IMWRITE_PNG_COMPRESSION, 0])
    rewritten = hashed(tmp_path / "row")
    image[0, 0, 0] ^= 1
    cv2.imwrite(str(last), image)

    assert rewritten == hashed(place / "row") != hashed(tmp_path / "row")


@pytest.mark.parametrize(
    ("more", "word"),
    [(("--granted", "originals"), "originals"), (("--name", " "), "name")],
    ids=["granted", "name"],
)
def test_wrong_options_are_refused(place, tmp_path, score, more, word):
    refused(score("row", copied(place, "row", tmp_path / "guesses"), *more), word)


@pytest.mark.parametrize("secret", ["nowhere.npz", "text.npz"])
def test_a_secret_that_cannot_be_read_is_named(place, tmp_path, score, secret):
    (tmp_path / "text.npz").write_text("no secret")

    guesses = copied(place, "own", tmp_path / "guesses")
    refused(score("own", guesses, "--secret", str(tmp_path / secret)), secret)


def test_a_submission_for_a_missing_row_is_refused(place, tmp_path, score):
    """It would be on no board."""
    guesses = copied(place, "row", tmp_path / "guesses")

    refused(score("row", guesses, "--records", str(tmp_path / "nowhere")), "nowhere", "run that row first")
    refused(score("row", guesses, "--targets", "5"), "noise_mix", "5 targets", "run that row first")


def test_a_published_release_keeps_its_entries_though_the_harness_is_edited(place, tmp_path, score, monkeypatch):
    """Files that lie somewhere do not change with the code that reads them."""
    score("own", copied(place, "own", tmp_path / "one", smoothed))
    plain = provenance.code
    monkeypatch.setattr(provenance, "code", lambda kind, entries: plain(kind, entries)[::-1])
    score("own", copied(place, "own", tmp_path / "two"), name="Roe 2028")

    _, row = row_of(tmp_path / "records", published=True)
    assert {attack.name for attack in row.attacks} == {"external:Doe 2027", "external:Roe 2028"}


def test_an_outside_submission_cannot_be_rerun(place, tmp_path, score, capsys):
    _, document, _ = score("row", copied(place, "row", tmp_path / "guesses"))

    assert main(["rerun", document["record"], "--records", str(tmp_path / "records")]) == 2
    assert "outside" in capsys.readouterr().err
