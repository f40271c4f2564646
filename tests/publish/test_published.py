"""`harness measure OUT --secret` and `harness run --release OUT`: the verdict on what was actually released."""

from __future__ import annotations

import json
import shutil
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from harness.cli import main
from harness.images import to_images
from harness.leaderboard.board import boards
from harness.publish.published import bench_of_published
from harness.publish.release_files import png_files
from harness.records import Records
from harness.records.store import read_all
from harness.registry import load_registry
from harness.release import as_tensor
from harness.run.rehearsal_check import compare
from tests.helpers.planted import picture_folder

REGISTRY = load_registry()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Pictures and two releases of them, and other pictures of the same classes for an adversary and for a test."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("published")
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        for name, each, seed in (("pictures", 12, 5), ("public", 10, 6), ("clean", 8, 7)):
            picture_folder(root / name, each=each, seed=seed)
        shutil.copytree(root / "public" / "across", root / "of_dogs" / "dog")
        words = ["--dataset", str(root / "pictures"), "--out", str(root / "out"), "--secret", str(root / "secret.npz")]
        assert main(["obfuscate", "--defense", "noise_mix", "-D", "sigma=60", *words, "--epochs", "2"]) == 0
        yield root


@pytest.fixture
def call(place, tmp_path, monkeypatch, capsys):
    """call(command, ...) -> exit code, document or None, stderr."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / "cache"))
    monkeypatch.chdir(place)

    def run(*words):
        capsys.readouterr()
        code = main([*words, "--json"])
        said = capsys.readouterr()
        return code, json.loads(said.out) if said.out else None, said.err

    return run


OWN = ("--secret", "secret.npz", "--dataset", "pictures")


def read(path: Path):
    return cv2.imread(str(path))[:, :, ::-1].transpose(2, 0, 1)


def test_scores_are_those_of_the_files_to_the_originals_that_the_secret_names(place, call):
    """Against the bare metric on pixels read from the files by OpenCV, with the pairs of the secret."""
    code, document, err = call("measure", "out", *OWN)
    assert code == 0, err
    with np.load(place / "secret.npz") as secret:
        first = secret["epoch"] == 0
        files, columns = secret["file"][first], secret["dominant"][first]
        names = secret["sources"][first][np.arange(len(columns)), columns]
    released = to_images(as_tensor(np.stack([read(place / "out" / file) for file in files])))
    originals = to_images(as_tensor(np.stack([read(place / "pictures" / name) for name in names])))
    import harness.metrics

    by_unit = {}
    for name, value in zip(names, harness.metrics.dssim(released, originals).tolist(), strict=True):
        by_unit.setdefault(name, []).append(value)
    expected = np.mean([np.mean(values) for values in by_unit.values()])
    assert document["scores"]["dssim"]["mean"] == pytest.approx(expected, abs=1e-6)
    assert (document["images"], document["releases"], document["defense"]) == (36, 2, "noise_mix")
    assert set(document["passes"]) == {"dssim", "dhaar", "exposed", "reidentified"}


def test_nothing_is_written_and_the_terminal_says_what_fails(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    before = sorted(place.rglob("*"))
    assert main(["measure", "out", *OWN]) == 0
    text = capsys.readouterr().out
    assert sorted(place.rglob("*")) == before
    assert "hidden by dSSIM: " in text and "(fails)" in text and "every file as the secret makes it" in text


def test_attacks_meet_the_release_and_the_row_is_named_by_its_hash(place, call, tmp_path, caplog):
    records = tmp_path / "records"
    more = ["--public", "public", "--records", str(records)]
    code, document, err = call("run", "--release", "out", *OWN, *more, "--attack", "smooth,multi_release")
    assert code == 0, err
    assert "no model is trained on the release" in caplog.text
    assert {cell["attack"] for cell in document["cells"]} == {"smooth", "multi_release"}
    assert all(cell["releases"] == 2 and cell["status"] == "ok" for cell in document["cells"])
    measured = call("measure", "out", *OWN, "--public", "public")[1]
    assert document["cells"][0]["scores"]["dssim"] == measured["scores"]["dssim"]
    (board,) = boards(read_all(records))
    (row,) = [row for row in board.rows if row.defense == "noise_mix"]
    assert row.settings["release"] == measured["release"][:8]
    again = call("run", "--release", "out", *OWN, *more, "--attack", "smooth,multi_release")[1]
    found = [[{**cell, "seconds": 0} for cell in each["cells"]] for each in (document, again)]
    assert found[0] == found[1]  # of the same records


def test_a_model_is_trained_on_the_release_and_tested_on_clean_images(place, call, tmp_path):
    more = ["--test", "clean", "--records", str(tmp_path / "records"), "--epochs", "3"]
    code, document, err = call("run", "--release", "out", *OWN, *more, "--attack", "smooth")
    assert code == 0, err
    (cell,) = document["cells"]
    assert cell["epochs"] == 3 and cell["releases"] == 2 and cell["scores"]["utility"]["n"] == 24


def test_the_release_behaves_as_its_secret_says(place):
    """The check of rows makes the release again from the secret's root, and finds no fault."""
    bench = bench_of_published(place / "out", place / "secret.npz", place / "pictures", REGISTRY, Records.nowhere())
    assert not compare(bench.client, bench.published, 0).get("rows")


def changed_copy(place, to: Path, change) -> Path:
    shutil.copytree(place / "out", to)
    change(to)
    return to


def swap_pixels(folder):
    file = folder / png_files(folder)[-1]  # of the last release
    image = cv2.imread(str(file))
    image[0, 0, 0] ^= 1
    cv2.imwrite(str(file), image)


def swap_names(folder):
    one, other = (folder / file for file in png_files(folder)[-2:])
    one.rename(folder / "kept")
    other.rename(one)
    (folder / "kept").rename(other)


CHANGES = {
    "one pixel of the last release": (swap_pixels, "is not what the secret makes of these originals"),
    "two files of the last release swapped": (swap_names, "is not what the secret makes of these originals"),
    "a file is missing": (lambda folder: (folder / png_files(folder)[-1]).unlink(), "is missing"),
    "another file": (lambda folder: shutil.copy(folder / png_files(folder)[0], folder / "x.png"), "x.png is not in"),
}


def png_chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def with_text(folder):
    file = folder / png_files(folder)[0]
    data = file.read_bytes()
    file.write_bytes(data[:33] + png_chunk(b"tEXt", b"Comment\0across/000.png") + data[33:])  # after the header


def with_link(folder):
    (folder / "more").symlink_to(folder.parent)


def as_link(folder):
    file = folder / png_files(folder)[0]
    shutil.move(file, folder.parent / "moved.png")
    file.symlink_to(folder.parent / "moved.png")


def as_bmp(folder):
    file = folder / png_files(folder)[0]
    file.write_bytes(cv2.imencode(".bmp", cv2.imread(str(file)))[1].tobytes())


def appended(folder):
    with (folder / png_files(folder)[0]).open("ab") as file:
        file.write(b"an original")


CHANGES |= {
    "a picture of another suffix": (lambda f: (f / "epoch_000" / "a.jpg").write_bytes(b"x"), "epoch_000/a.jpg is no"),
    "a suffix in capitals": (lambda f: (f / "A.PNG").write_bytes(b"x"), "A.PNG is no file of the release"),
    "the secret": (lambda f: (f / "secret.npz").write_bytes(b"x"), "secret.npz is no file of the release"),
    "labels beside hard labels": (lambda f: (f / "labels.csv").write_text("file\n"), "labels.csv is no file"),
    "a folder that is a link": (with_link, "more is a link"),
    "a file that is a link": (as_link, "is a link"),
    "a text in a file": (with_text, "holds a chunk 'tEXt' beside its pixels"),
    "bytes after a file's end": (appended, "holds bytes after its end"),
    "another format under the name": (as_bmp, "holds another format"),
}


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("command", ["measure", "run"])
def test_other_files_are_refused(place, call, tmp_path, what, command):
    change, said = CHANGES[what]
    out = str(changed_copy(place, tmp_path / "out", change))
    words = ["measure", out] if command == "measure" else ["run", "--release", out, "--attack", "smooth"]
    code, document, err = call(*words, *OWN)
    assert (code, document) == (2, None) and said in err.splitlines()[-1]


def test_other_originals_are_refused(place, call, tmp_path):
    shutil.copytree(place / "pictures", tmp_path / "pictures")
    first = sorted((tmp_path / "pictures").rglob("*.png"))[0]
    cv2.imwrite(str(first), 255 - cv2.imread(str(first)))
    code, _, err = call("measure", "out", "--secret", "secret.npz", "--dataset", str(tmp_path / "pictures"))
    assert code == 2 and "is not what the secret makes of these originals" in err


REFUSED = {
    "no secret": (["run", "--release", "out", "--dataset", "pictures", "--attack", "smooth"], "with --secret"),
    "no originals to run": (["run", "--release", "out", "--secret", "secret.npz", "--attack", "smooth"], "--dataset"),
    "no originals to measure": (["measure", "out", "--secret", "secret.npz"], "give their folder with --dataset"),
    "nobody": (["run", "--attack", "smooth"], "name a --defense, or a client's own --release"),
    "a defense too": (["run", "--release", "out", *OWN, "--attack", "smooth", "--defense", "mix"], "--defense mix"),
    "knobs": (["run", "--release", "out", *OWN, "--attack", "smooth", "-D", "sigma=3"], "-D sigma=3"),
    "a size": (["run", "--release", "out", *OWN, "--attack", "smooth", "--size", "16"], "--size does not go"),
    "a limit": (["run", "--release", "out", *OWN, "--attack", "smooth", "--limit", "9"], "--limit does not go"),
    "fewer releases": (["run", "--release", "out", *OWN, "--attack", "smooth", "--releases", "1"], "--releases"),
    "a secret of nothing": (["run", "--defense", "mix", "--attack", "smooth", *OWN], "--secret is of a client's own"),
    "public of nothing": (["run", "--defense", "mix", "--attack", "smooth", "--public", "x"], "--public is of a"),
    "two folders": (["measure", "out", "pictures", *OWN], "pictures does not go with --secret"),
    "one metric": (["measure", "out", *OWN, "--metric", "mse"], "--metric does not go with --secret"),
    "one folder": (["measure", "out"], "give two images or folders"),
    "public that was released": (["measure", "out", *OWN, "--public", "pictures"], "none is left"),
    "a public class": (["measure", "out", *OWN, "--public", "of_dogs"], "class 'dog' is none of the release"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_wrong_usage_is_one_line(call, what):
    words, said = REFUSED[what]
    code, document, err = call(*words)
    assert (code, document) == (2, None) and said in err.splitlines()[-1], err


def test_images_of_another_role_are_left_out_and_said(place, call, tmp_path, caplog):
    """An adversary that holds an original would not be the one that is meant."""
    both = tmp_path / "public"
    shutil.copytree(place / "public", both)
    for file in list((place / "pictures").rglob("*.png"))[:3]:
        shutil.copy(file, both / file.parent.name / f"again_{file.name}")
    code, _, err = call("measure", "out", *OWN, "--public", str(both))
    assert code == 0 and "3 are left out, as copies or images in another role" in caplog.text, err


@pytest.mark.parametrize("change", ["a column", "a share", "gone"])
def test_soft_labels_are_compared_too(place, call, tmp_path, change):
    """They are published as well: a column could name every original."""
    words = ["--dataset", "pictures", "--out", str(tmp_path / "soft"), "--secret", str(tmp_path / "soft.npz")]
    assert call("obfuscate", "--defense", "mix", "-D", "label=soft", *words, "--epochs", "1")[0] == 0
    judge = ("measure", str(tmp_path / "soft"), "--secret", str(tmp_path / "soft.npz"), "--dataset", "pictures")
    assert call(*judge)[0] == 0
    file = tmp_path / "soft" / "labels.csv"
    lines = file.read_text().splitlines()
    if change == "gone":
        file.unlink()
    else:
        last = f"{lines[-1]},across/000.png" if change == "a column" else f"{lines[-1][:-1]}1"
        file.write_text("\n".join([*lines[:-1], last]) + "\n")
    code, _, err = call(*judge)
    assert code == 2 and "labels.csv is not what the secret makes of these originals" in err


def test_a_folder_with_copies_is_refused_and_says_why(place, call, tmp_path):
    shutil.copytree(place / "pictures", tmp_path / "pictures")
    first = sorted((tmp_path / "pictures").rglob("*.png"))[0]
    shutil.copy(first, first.with_name("copy.png"))
    words = ["--dataset", str(tmp_path / "pictures"), "--secret", str(tmp_path / "s.npz")]
    assert call("obfuscate", "--defense", "mix", *words, "--out", str(tmp_path / "out"), "--epochs", "1")[0] == 0
    code, _, err = call("measure", str(tmp_path / "out"), *words)
    assert code == 2 and "several times, and who is re-identified among copies cannot be said" in err
