"""The pictures of a page are the originals, releases and reconstructions of its records, made again once."""

from __future__ import annotations

import base64
import io
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from harness.cli import main
from harness.data.load import load
from harness.leaderboard.board import boards
from harness.leaderboard.format import short
from harness.registry import bind, load_registry
from harness.report.collect import collect
from harness.report.html.page import render
from harness.tools import board_pictures, preview
from tests.helpers.planted import picture_folder

METRICS = {name: bind(load_registry().get("metrics", name)) for name in ("dssim", "dhaar")}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def cache(home, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return picture_folder(tmp_path_factory.mktemp("data") / "stripes", each=12)


@pytest.fixture(scope="module")
def records(tmp_path_factory, pictures, home):
    folder = tmp_path_factory.mktemp("records")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(home))
        command = ["run", "--dataset", pictures, "--records", folder, "--defense", "noise_mix,mix", "--no-utility"]
        assert main([*map(str, command), "--attack", "smooth,denoise", "--threads", "1", "--epochs", "2"]) == 0
    return folder


def page_of(records, out, *more) -> str:
    assert main(["report", "--records", str(records), "--out", str(out), *map(str, more)]) == 0
    return out.read_text()


def shown(page: str) -> dict[str, list[tuple[np.ndarray, str]]]:
    """The pictures of the page by what they are of: their pixels, (3, H, W), and the words under them."""
    (table,) = re.findall(r'(?s)<table class="pictures">(.*?)</table>', page)
    found: dict[str, list[tuple[np.ndarray, str]]] = {}
    for cell in re.findall(r"(?s)<td>(.*?)</td>", table):
        (what,) = re.findall(r'alt="(.*?),? ?(?:original )?\d"', cell)
        found.setdefault(what, []).append((_pixels(cell), "".join(re.findall(r'<span class="by">([^<]*)', cell))))
    return found


def _pixels(cell: str) -> np.ndarray:
    (found,) = re.findall(r'src="data:image/png;base64,([^"]+)"', cell)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(found)))).transpose(2, 0, 1)


def distance(name: str, one: np.ndarray, other: np.ndarray) -> str:
    images = [torch.from_numpy(each[None].astype(np.float32) / 255) for each in (one, other)]
    return short(float(METRICS[name](*images)))


def test_the_page_shows_originals_releases_and_reconstructions_with_their_distances(records, pictures, tmp_path):
    found = shown(page_of(records, tmp_path / "page.html", "--dataset", pictures))
    private = load(pictures).private

    originals = [pixels for pixels, _ in found.pop("")]
    assert len(originals) == 6
    assert all(any((image == pixels).all() for image in private.images) for pixels in originals)
    assert {"released by none", "released by mix", "released by noise_mix"} < set(found) and len(found) == 5
    for line in found.values():
        for (pixels, words), original in zip(line, originals, strict=True):
            assert words == f"dSSIM {distance('dssim', pixels, original)}  dHaar {distance('dhaar', pixels, original)}"
    undefended = [pixels for pixels, _ in found["released by none"]]
    assert all((pixels == original).all() for pixels, original in zip(undefended, originals, strict=True))


def test_the_reconstruction_is_of_the_attack_that_comes_nearest(records, pictures, tmp_path):
    (section,) = collect(records).sections
    page = page_of(records, tmp_path / "page.html", "--dataset", pictures)

    for row in section.board.rows:
        if row.scores["dssim"]["mean"] > 0:
            best = min((a for a in row.attacks if a.name != "look"), key=lambda a: a.distances["dssim"]["mean"])
            assert f"reconstructed by {best.name} from {row.defense}" in page


def test_what_was_made_is_kept_for_the_user_alone_and_not_made_again(records, pictures, home, tmp_path, monkeypatch):
    first = shown(page_of(records, tmp_path / "page.html", "--dataset", pictures))
    kept = [path for path in (home / "obfuscation-harness" / "pictures").rglob("*") if path.is_file()]
    monkeypatch.setattr(preview, "reconstructed", lambda *_: pytest.fail("it was made again"))
    monkeypatch.setattr(board_pictures, "bench_of", lambda *_: pytest.fail("the images were loaded again"))

    second = shown(page_of(records, tmp_path / "page.html", "--dataset", pictures))

    assert kept and all(path.stat().st_mode & 0o077 == 0 for path in kept)
    assert {what: [words for _, words in line] for what, line in first.items()} == {
        what: [words for _, words in line] for what, line in second.items()
    }


def test_nothing_is_kept_where_the_user_wants_nothing_kept(records, pictures, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    assert shown(page_of(records, tmp_path / "page.html", "--dataset", pictures, "--no-cache"))

    assert not list(tmp_path.glob("cache/**/*.npz"))


def test_images_that_are_not_at_hand_are_said_once_and_the_page_is_made(records, tmp_path, capsys):
    page = page_of(records, tmp_path / "page.html", "--no-cache")

    said = capsys.readouterr().err
    assert said.count("no pictures: ") == 1 and "--dataset" in said
    assert 'class="pictures"' not in page and "No pictures: " in page


def test_other_images_than_those_of_the_records_are_refused(records, tmp_path, capsys):
    other = picture_folder(tmp_path / "other", each=11)

    page_of(records, tmp_path / "page.html", "--dataset", other, "--no-cache")

    assert "no pictures: " in capsys.readouterr().err


def test_a_page_without_pictures_holds_no_image(records, pictures, tmp_path, capsys):
    page = page_of(records, tmp_path / "page.html", "--dataset", pictures, "--pictures", "none")

    assert 'src="data:image' not in page
    assert "original image" not in capsys.readouterr().err


def test_a_page_with_pictures_says_how_many_originals_it_holds(records, pictures, tmp_path, capsys):
    page_of(records, tmp_path / "page.html", "--dataset", pictures)

    assert "the page holds 6 original images; --pictures none leaves pictures out" in capsys.readouterr().err


def test_the_quick_mode_takes_the_nearest_attack_that_trains_no_network():
    from tests.helpers.crossed import DEFENSES, cross

    records = [each for each in cross(1, DEFENSES[1:2]) if each.inputs.get("attack", {}).get("name") != "multi_release"]
    (board,) = boards(records)
    row = board.rows[0]  # `smooth` reaches .9 of the release's distance, `inversion`, which learns, .75

    best, quick = (board_pictures._attack_of(row, mode) for mode in ("best", "quick"))

    assert (best[0].name, best[1]) == ("inversion", "")
    said = "inversion comes nearer, and trains a network: --pictures best runs it again"
    assert (quick[0].name, quick[1]) == ("smooth", said)


def test_boards_with_judged_rows_come_first(tmp_path):
    from tests.helpers.crossed import DATASET, DEFENSES, cross, write

    early = {**DATASET, "name": "a_first_by_name", "fingerprint": "f" * 32}
    folder = write(tmp_path, [*cross(1, DEFENSES[:2], early), *cross(3, DEFENSES[:5])])

    names = [section.board.dataset["name"] for section in collect(folder).sections]

    assert names == ["hand_made", "a_first_by_name"]
    assert render(collect(folder)).index(">hand_made</h2>") < render(collect(folder)).index(">a_first_by_name</h2>")


def test_curves_of_another_folder_are_drawn_too(tmp_path, capsys):
    from tests.helpers.crossed import DEFENSES, EPOCHS, cross, write

    one = [each for each in cross(1, DEFENSES[:2]) if each.spec.releases in (None, EPOCHS[0])]
    main_, more = write(tmp_path / "one", one), write(tmp_path / "more", cross(1, DEFENSES[1:3]))
    out = tmp_path / "page.html"

    for command, curves in (((), 0), (("--also", more), 2)):
        text = page_of(main_, out, *command, "--pictures", "none")
        data = json.loads(re.search(r'(?s)id="data">(.*?)</script>', text)[1])
        assert sum(bool(board["curves"]) for board in data["boards"]) == (1 if curves else 0)
        assert ("Privacy by releases" in text) == bool(curves)
