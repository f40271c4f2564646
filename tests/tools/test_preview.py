"""The preview sheet shows originals and releases, with the metrics' figures under them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from harness.cli import main
from harness.client.client import Client
from harness.registry import bind, load_registry
from harness.tools import preview
from tests.helpers.planted import picture_folder, splits

REGISTRY = load_registry()


def client(**changes):
    return Client(splits(size=32, **changes), REGISTRY, "cpu", 3, 30)


def drawn(client, out, defenses=("mix", "blur_mix"), attacks=(), count=3):
    entries = [REGISTRY.get("defenses", name) for name in defenses]
    preview.draw(client, entries, [REGISTRY.get("attacks", name) for name in attacks], count, out)
    return np.asarray(Image.open(out))


def shows(sheet, picture):
    """Whether a (3, H, W) image is somewhere on the sheet, enlarged four times, pixel by pixel."""
    tile = np.repeat(np.repeat(picture.transpose(1, 2, 0), 4, 0), 4, 1)
    rows, columns = np.nonzero((sheet[: 1 - len(tile), : 1 - len(tile)] == tile[0, 0]).all(-1))
    return any((sheet[y : y + len(tile), x : x + len(tile)] == tile).all() for y, x in zip(rows, columns, strict=True))


def test_every_original_is_in_a_row_with_its_releases(tmp_path):
    seen = client()

    sheet = drawn(seen, tmp_path / "sheet.png")

    shown = [row for row, image in enumerate(seen.splits.private.images) if shows(sheet, image)]
    assert len(shown) == 3
    for name in ("mix", "blur_mix"):
        release, secret = seen.release(REGISTRY.get("defenses", name), 0, 0)
        for row in shown:
            mine = np.flatnonzero(secret.dominant_rows == row)
            assert not len(mine) or any(shows(sheet, release.images[at].numpy()) for at in mine)


def test_the_figures_under_a_tile_are_those_of_the_metrics(tmp_path, monkeypatch):
    seen, written = client(), []
    monkeypatch.setattr(preview._Sheet, "tile", lambda self, column, row, depth, picture, below: written.append(
        (column, row, picture, below)
    ))  # fmt: skip

    preview.draw(seen, [REGISTRY.get("defenses", "pixelize_mix")], [], 2, tmp_path / "sheet.png")

    originals = {row: picture for column, row, picture, _ in written if column == 0}
    for _, row, picture, below in (entry for entry in written if entry[0] == 1):
        images = [torch.from_numpy(p[None].astype(np.float32) / 255) for p in (picture, originals[row])]
        said = [float(word) for word in below.split() if word[-1].isdigit()]
        assert said == [
            pytest.approx(float(bind(REGISTRY.get("metrics", name))(*images)), abs=6e-4) for name in ("dssim", "dhaar")
        ]


def test_an_attack_adds_a_row_under_each_release(tmp_path):
    plain, attacked = (drawn(client(), tmp_path / f"{len(more)}.png", attacks=more) for more in ((), ("look",)))

    assert attacked.shape[1] == plain.shape[1]
    assert attacked.shape[0] > 1.7 * plain.shape[0]


def test_an_inapplicable_attack_is_a_blank_tile(tmp_path, monkeypatch):
    tiles = []
    monkeypatch.setattr(preview._Sheet, "tile", lambda self, *given: tiles.append(given))

    preview.draw(
        client(),
        [REGISTRY.get("defenses", "mix")],
        [REGISTRY.get("attacks", "interpolation")],
        2,
        tmp_path / "sheet.png",
    )

    assert [(picture is None, below) for _, _, depth, picture, below in tiles if depth == 1] == 2 * [
        (True, "inapplicable")
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--images", "1000"], "more than"),
        (["--images", "0"], "1 or more"),
        (["--out", "sheet.jpg"], ".png"),
        (["--out", "nowhere/sheet.png"], "no folder"),
        (["--defense", "mixx"], "mix"),
        (["--attack", "cnn"], "makes no pictures"),
        (["--defense", "shuffle_mix", "-D", "block=7"], "does not divide"),
    ],
)
def test_bad_input_is_one_line_and_no_sheet(options, said, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = picture_folder(tmp_path / "pictures", size=32)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    given = {"--dataset": str(folder), "--defense": "mix"} | dict(zip(options[::2], options[1::2], strict=True))

    code = main(["preview", *(word for pair in given.items() for word in pair)])

    error = capsys.readouterr().err
    assert code == 2
    assert len(error.strip().splitlines()) == 1
    assert said in error
    assert list(work.iterdir()) == []
