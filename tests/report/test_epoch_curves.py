"""Privacy by releases: one command, a table, a figure, and no pooling of figures of two R."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from itertools import pairwise

import matplotlib.font_manager  # noqa: F401  finds its fonts now, not anew for every cache folder of a test
import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from harness.cli import main
from harness.registry import Entry, load_registry
from harness.report import epoch_curves
from harness.report.figures import epoch_curves as figures
from harness.run import engine
from harness.run.cross import Cross
from harness.train import Learner
from harness.types import Guess
from tests.helpers.planted import bench, defense, picture_folder

PLANTED = """
attacks:
  averaged:
    use: tests.report.test_epoch_curves:averaged
    version: 1
    kind: reconstruction
    granted: [releases]
    cite: planted
  once:
    use: tests.report.test_epoch_curves:once
    version: 1
    kind: reconstruction
    cite: planted
  tired:
    use: tests.report.test_epoch_curves:tired
    version: 1
    kind: reconstruction
    granted: [releases]
    cite: planted
"""


def averaged(observation, rng):
    """The mean over releases of the most similar release: with weights .9/.1 the right one, for these few images."""
    images = [release.images.float() for release in observation.releases]
    total, targets = images[0][observation.targets], observation.targets
    for others in images[1:]:
        nearest = torch.cdist(images[0][targets].flatten(1), others.flatten(1)).argmin(1)
        total = total + others[nearest]
    return Guess(candidates=(total / len(images)).round().byte()[:, None])


def once(observation, rng):
    return Guess(candidates=observation.images[observation.targets][:, None])


def tired(observation, rng):
    if len(observation.releases) == 2:
        raise RuntimeError("not twice")
    return once(observation, rng)


def entry(function, granted=("releases",)):
    use = f"tests.report.test_epoch_curves:{function.__name__}"
    return Entry(function.__name__, "attacks", use, 1, {}, None, (), granted, "reconstruction", cite="planted")


NOISY = load_registry().get("defenses", "noise_mix").with_settings({"sigma": 40, "weights": [0.9, 0.1]})


@pytest.fixture(scope="module")
def curves(tmp_path_factory):
    """Averaging over 1, 2 and 4 releases, and an attack that does not depend on them."""
    attacks = [entry(averaged), entry(once, ())]
    cross = Cross(bench(tmp_path_factory.mktemp("curves"), None, *attacks), [NOISY], attacks, 1, False)
    cells = [cell for found in engine.run([cross.with_epochs(epochs) for epochs in (4, 1, 2)]) for cell in found]
    return cells, epoch_curves.of_run(cells, epoch_curves.pairs_of(cross))


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    registry, pictures = tmp_path / "planted.yaml", picture_folder(tmp_path / "stripes", each=12)
    registry.write_text(PLANTED)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")

    def call(*arguments):
        fixed = ("--dataset", pictures, "--registry", registry, "--threads", 1, "--defense", "noise_mix")
        code = main(["run", *map(str, (*fixed, *arguments))])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_the_distance_after_an_attack_falls_with_every_release(curves):
    """Noise averages out over releases."""
    (curve,) = curves[1]

    distances = [point.attack.distances["dssim"]["mean"] for point in curve.points]
    assert [point.releases for point in curve.points] == [1, 2, 4]
    assert distances[0] > distances[1] > distances[2]
    assert [point.attack.equals_release for point in curve.points] == [True, False, False]


def test_a_point_is_the_score_of_its_cell(curves):
    cells, (curve,) = curves

    scored = {cell.releases: cell.scores["attacked_dssim"] for cell in cells if cell.attack.name == "averaged"}
    assert {point.releases: point.attack.distances["dssim"] for point in curve.points} == scored
    assert all(cell.document()["releases"] == cell.releases for cell in cells)


def test_an_attack_that_sees_one_release_is_run_once_for_every_number_of_them(curves):
    cells, _ = curves

    assert len({cell.release.spec.key for cell in cells}) == 3
    assert len({cell.attacked.spec.key for cell in cells if cell.attack.name == "once"}) == 1
    assert len({cell.attacked.spec.key for cell in cells if cell.attack.name == "averaged"}) == 3


def test_what_does_not_depend_on_epochs_has_no_curve(curves):
    assert [curve.attack for curve in curves[1]] == ["averaged"]


def test_utility_is_shown_beside_privacy_at_the_same_epochs(tmp_path, monkeypatch):
    """An untrained network is enough to see which figure is at which epoch."""
    monkeypatch.setattr(Learner, "epoch", lambda *_: 0.0)
    attacks = [entry(averaged)]
    made = bench(tmp_path, None, *attacks, utility={"model": "mcpherson_face"})
    cross = Cross(made, [defense("turn")], attacks, 1, True)
    cells = [cell for found in engine.run([cross.with_epochs(epochs) for epochs in (1, 2)]) for cell in found]

    (curve,) = epoch_curves.of_run(cells, epoch_curves.pairs_of(cross))

    for point, cell in zip(curve.points, cells, strict=True):
        assert point.row.epochs == point.releases == cell.utility.inputs["epochs"]
        assert point.row.utility["mean"] == cell.utility.scores["utility"]["mean"]
        assert point.undefended["mean"] == cell.beside[1].scores["utility"]["mean"]
        assert point.row.accuracy_drop is not None


@pytest.fixture
def trained_alike(tmp_path, monkeypatch):
    """Four epochs on 1, 2 and 4 releases, and one on one."""
    monkeypatch.setattr(Learner, "epoch", lambda *_: 0.0)
    attacks = [entry(averaged)]
    made = bench(tmp_path, None, *attacks, utility={"model": "mcpherson_face"})
    cross = Cross(made, [NOISY], attacks, 1, True)
    crosses = [cross.with_epochs(*both) for both in ((4, 4), (4, 1), (4, 2), (1, 1))]
    return crosses, [cell for found in engine.run(crosses) for cell in found]


def test_several_releases_at_equal_training_are_a_curve_beside_that_of_a_release_for_each_epoch(trained_alike):
    crosses, cells = trained_alike
    by_schedule = {(cell.epochs, cell.releases): cell for cell in cells}

    fresh, alike = sorted(
        epoch_curves.of_run(cells, epoch_curves.pairs_of(crosses[0])), key=lambda curve: curve.epochs or 0
    )

    assert (fresh.epochs, [point.releases for point in fresh.points]) == (None, [1, 4])
    assert (alike.epochs, [point.releases for point in alike.points]) == (4, [1, 2, 4])
    assert [point.row.epochs for point in fresh.points] == [1, 4]
    for point in alike.points:
        cell = by_schedule[4, point.releases]
        assert point.row.epochs == 4
        assert point.score("utility")["mean"] == cell.utility.scores["utility"]["mean"]
        assert point.score("dssim") == cell.scores["attacked_dssim"]
        assert point.undefended["mean"] == cell.beside[1].scores["utility"]["mean"]
    assert alike.title.endswith("epochs=4)") and "epochs" not in fresh.title
    assert epoch_curves.curves_of(crosses) == [None, 4]


def test_privacy_and_accuracy_are_drawn_over_what_they_depend_on(trained_alike, tmp_path):
    """Accuracy of a release for each epoch is over epochs; at equal training all is over releases."""
    crosses, cells = trained_alike
    axes = {}
    for curve in epoch_curves.of_run(cells, epoch_curves.pairs_of(crosses[0])):
        panels = figures.epoch_figure([curve], "", "").axes
        axes[curve.epochs] = [panel.get_xlabel().split(" (")[0] for panel in panels]
        assert all(
            [text.get_text() for text in p.get_xticklabels()] == [str(q.releases) for q in curve.points] for p in panels
        )

    assert axes == {None: ["releases, R", "releases, R", "epochs, T"], 4: ["releases, R"] * 3}


# The command


def test_one_command_prints_and_draws_the_curve(run, tmp_path):
    code, out, err = run("--attack", "averaged,once", "--epochs", "4,1", "--no-utility", "--records", "kept")

    file = tmp_path / "work" / "kept" / "spending_noise_mix_averaged.png"
    assert code == 0, err
    assert "privacy by releases: averaged on noise_mix" in out and "(= no" in out
    assert "drew kept/spending_noise_mix_averaged.png" in err
    with Image.open(file) as picture:
        assert picture.size[0] > 1000
    assert out.count("Not judged: missing") == 1  # one verdict, that of the most releases
    assert ", 4 releases, " in " ".join(out.split())


def test_several_releases_of_one_training_are_one_figure(run, tmp_path, monkeypatch):
    monkeypatch.setattr(Learner, "epoch", lambda *_: 0.0)
    schedule = ("--epochs", 4, "--releases", "4,1", "--model", "mcpherson_face")

    code, out, err = run("--attack", "averaged", *schedule, "--records", "kept")

    assert code == 0, err
    assert "drew kept/spending_noise_mix_averaged_4_epochs.png" in err
    assert [file.name for file in (tmp_path / "work" / "kept").glob("*.png")] == [
        "spending_noise_mix_averaged_4_epochs.png"
    ]
    assert "4 epochs, 4 releases, " in " ".join(out.split()) and "epochs=4" in out


def test_the_document_holds_the_cells_of_every_epoch(run):
    code, out, _ = run("--attack", "averaged", "--epochs", "1,2", "--no-utility", "--json", "--figure", "here.svg")

    document = json.loads(out)
    assert code == 0
    assert [(cell["epochs"], cell["releases"]) for cell in document["cells"]] == [(1, 1), (2, 2)]
    assert [said["releases"] for said in document["verdicts"]] == [1, 2]


def test_the_figure_is_written_to_the_named_file(run, tmp_path):
    run("--attack", "averaged", "--epochs", "1,2", "--no-utility", "--figure", "here.svg")

    assert (tmp_path / "work" / "here.svg").read_text().count("<svg") == 1
    assert not list((tmp_path / "work" / "results").glob("*.png"))


@pytest.mark.parametrize(
    ("file", "words"), [("a.txt", (".png, .pdf, .svg",)), ("nowhere/a.png", ("no folder nowhere", "--figure"))]
)
def test_a_figure_that_cannot_be_drawn_is_refused_before_anything_runs(run, tmp_path, file, words):
    code, out, err = run("--attack", "averaged", "--epochs", "1,2", "--no-utility", "--figure", file)

    assert (code, out) == (2, "") and err.count("\n") == 1
    assert all(word in err for word in words)
    assert list((tmp_path / "work").iterdir()) == []


def test_one_file_is_not_two_curves(run):
    code, _, err = run("--attack", "averaged,tired", "--epochs", "1,2", "--no-utility", "--figure", "a.png")

    assert code == 2 and "2 curves" in err and "one defense and one attack" in err


def test_the_plan_counts_shared_work_once(run):
    _, out, _ = run("--attack", "averaged,once", "--epochs", "1,2,4", "--no-utility", "--dry-run", "--json")

    plan = json.loads(out)["plan"]
    keys = {item["key"] for item in plan}
    assert len(keys) == len(plan) == 3 * (2 + 1) + 1  # at each R two releases and averaged


def test_a_curve_is_drawn_without_the_epochs_at_which_the_attack_failed(run):
    """The table says that it failed."""
    code, out, err = run("--attack", "tired", "--epochs", "1,2,3", "--no-utility")

    assert code == 1 and "noise_mix x tired: failed: attack: RuntimeError: not twice" in err
    assert "failed" in out[out.index("privacy by releases") :]


def test_nothing_is_drawn_for_one_number_of_epochs(run, tmp_path):
    code, out, _ = run("--attack", "averaged", "--epochs", 2, "--no-utility")

    assert code == 0 and "privacy by releases" not in out
    assert not list((tmp_path / "work").rglob("*.png"))


# What is seen


def test_the_table_fits_eighty_columns(curves):
    console = Console(file=io.StringIO(), width=80)

    console.print(epoch_curves.table(curves[1][0]))

    assert max(map(len, console.file.getvalue().splitlines())) <= 80


def test_names_at_the_ends_of_lines_do_not_overlap(curves, tmp_path):
    """In the drawn picture, by the boxes of the texts."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panel = (figure := Figure(figsize=(4, 4))).subplots()
    panel.set_ylim(0, 1)
    figures._write(panel, [(0.98, "a", "k"), (0.99, "b", "k"), (1.0, "c", "k"), (0.5, "d", "k"), (0.51, "e", "k")])
    FigureCanvasAgg(figure).draw()

    boxes = sorted((text.get_window_extent().y0, text.get_window_extent().y1) for text in panel.texts)
    assert all(above[0] >= below[1] - 1 for below, above in pairwise(boxes))
    assert boxes[-1][1] <= panel.get_window_extent().y1 + 10


def test_matplotlib_is_not_loaded_where_nothing_is_drawn():
    modules = "harness.report.run_summary, harness.report.figures.epoch_curves, harness.report.figures.draw"
    code = f"import sys, {modules}; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"


def test_the_picture_holds_ink_in_every_panel(curves, tmp_path):
    file = figures.save_curve(curves[1][0], tmp_path / "curve.png")

    with Image.open(file) as picture:
        pixels = np.asarray(picture.convert("L"))
    assert all((part < 128).any() for part in np.array_split(pixels, 3, axis=1))
