"""A registry file that names a module's old place gets its new name, or still works."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

import harness
from harness.data.load import load
from harness.errors import HarnessError
from harness.registry import Entry, bind, load_registry
from harness.registry.availability import why_unavailable
from harness.registry.moved import MOVED, new_name
from harness.registry.source import locate


@pytest.fixture(autouse=True)
def own_paths(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Modules that a test brings in go with it."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("tidyold", None)


def entry(use: str) -> Entry:
    return Entry("mine", "attacks", use, origin="mine.yaml")


# ---- names

OLD_MODULES = """
attacks attacks.assignment attacks.attribute attacks.auto attacks.clean_cnn attacks.cnn attacks.deconvolution
attacks.denoise attacks.fastica attacks.features attacks.filling attacks.google_vision attacks.interpolation
attacks.inversion attacks.invert attacks.levels attacks.linking attacks.look attacks.mask_network attacks.masks
attacks.mean_image attacks.multi_release attacks.pairs attacks.pixels attacks.random_other attacks.regression
attacks.reid attacks.restoration_loss attacks.restorer attacks.restoring attacks.richardson_lucy attacks.smooth
attacks.stage attacks.standing attacks.synonyms attacks.timm_labels attacks.tracks attacks.trials attacks.tuning
attacks.undo attacks.unet attacks.unmix attacks.vision_cache attacks.vision_service attacks.wiener harness
harness.agreement harness.allocator harness.archives harness.atomic harness.attacked harness.availability
harness.binding harness.board_files harness.bracket harness.cell harness.challenge harness.check
harness.check.baseline harness.check.chance harness.check.changes harness.check.compare harness.check.files
harness.check.junit harness.check.scores harness.check.series harness.check.shuffled harness.check.suite
harness.check.words harness.cli harness.client harness.cluster harness.coarse harness.columns harness.commands
harness.commands.check harness.commands.common harness.commands.entries harness.commands.external
harness.commands.measure harness.commands.obfuscate harness.commands.preview harness.commands.rank
harness.commands.report harness.commands.rerun harness.commands.run harness.commands.sweep harness.commands.tune
harness.comparisons harness.compiled harness.complete harness.contract harness.contract.attacks
harness.contract.defenses harness.contract.findings harness.contract.metrics harness.contract.pictures
harness.convergence harness.cross harness.crossing harness.curves harness.datasets harness.decode harness.device
harness.download harness.drawn harness.draws harness.drive harness.engine harness.entries harness.errors
harness.estimate harness.external harness.figures harness.folders harness.gallery harness.groups harness.heat
harness.images harness.imports harness.keep harness.kernels harness.knobs harness.leaderboard harness.least
harness.likeness harness.locate harness.markdown harness.mcpherson harness.measure harness.mixing harness.networks
harness.notes harness.observation harness.offline harness.order harness.origins harness.outcome harness.page
harness.paper harness.photos harness.plates harness.plates.grid harness.plates.names harness.plates.scatter
harness.plates.spent harness.plates.style harness.pool harness.preview harness.provenance harness.publish
harness.published harness.randomness harness.ranking harness.records harness.registry harness.release
harness.release_files harness.report harness.reported harness.rerun harness.roles harness.rows harness.scaffold
harness.schedule harness.scoring harness.self_checks harness.settings harness.sheets harness.shelf harness.sources
harness.spending harness.statistics harness.submission harness.sweep harness.tables harness.telling harness.terminal
harness.torchvision_sets harness.train harness.trained harness.transfer harness.tune harness.tuned
harness.tuned_tables harness.types harness.unpack harness.untouched harness.verdict harness.verify harness.weights
harness.whole harness.wording harness.worker harness.worst
"""
"""Every module before the folders were made, but for defenses and evaluators, which kept their names."""
STAYED = """
harness harness.cli harness.errors harness.mixing harness.observation harness.randomness harness.release
harness.statistics harness.types harness.images harness.records harness.registry harness.train harness.check
harness.check.baseline harness.check.changes harness.check.compare harness.check.series harness.check.suite
harness.contract harness.contract.attacks harness.contract.defenses harness.contract.metrics harness.commands
harness.commands.check harness.commands.common harness.commands.external harness.commands.measure
harness.commands.obfuscate harness.commands.preview harness.commands.rank harness.commands.report
harness.commands.rerun harness.commands.run harness.commands.sweep harness.commands.tune
"""
NOW_PACKAGES = {"harness.client", "harness.leaderboard", "harness.publish", "harness.report", "harness.tune"}
"""A package has the name of the old module, whose definitions are in one of its modules."""


@pytest.mark.parametrize("old", OLD_MODULES.split())
def test_every_old_module_is_there_or_gives_its_new_name(old: str) -> None:
    if old in STAYED.split():
        assert locate(old) is not None and new_name(old) is None
    else:
        new = new_name(old)
        assert new is not None and locate(new) is not None and new.startswith("harness.")


@pytest.mark.parametrize("old", MOVED)
def test_every_new_name_exists(old: str) -> None:
    assert new_name(old) == MOVED[old]
    assert not old.startswith("harness.") or locate(old) is None or old in NOW_PACKAGES


def test_what_has_not_moved_has_no_new_name() -> None:
    for module in ("harness.train", "harness.randomness", "attacks.unheard_of", "numpy", "harness"):
        assert new_name(module) is None
    assert new_name("defenses.mix") == "harness.plugins.defenses.mix"


# ---- plugins


@pytest.mark.parametrize(
    ("use", "new"),
    [
        ("attacks.tuning:restore", "harness.plugins.attacks.common.rehearse"),
        ("harness.networks:build", "harness.train.networks"),
    ],
)
def test_a_plugin_at_an_old_place_is_refused_with_the_new_one(use: str, new: str) -> None:
    module, _, function = use.partition(":")
    message = f"{module} has moved; write use: {new}:{function}"

    assert why_unavailable(entry(use)) == message
    with pytest.raises(HarnessError, match=f"attack 'mine' is unavailable: {message}"):
        bind(entry(use))


@pytest.mark.parametrize(
    ("use", "new"),
    [
        ("attacks.tuning:gone", "harness.plugins.attacks.common.rehearse"),
        ("harness.archives:gone", "harness.data.sources.archives"),
    ],
)
def test_a_function_that_is_not_in_the_new_module_is_not_advised(
    use: str, new: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "mine.yaml").write_text(f'datasets:\n  mine: {{use: "{use}", version: 1, cite: me}}\n')
    module = use.partition(":")[0]

    found = load_registry([tmp_path / "mine.yaml"]).get("datasets", "mine")

    assert why_unavailable(found) == f"{module} has moved to {new}" and not caplog.records
    with pytest.raises(HarnessError, match=f"{module} has moved to {new}$"):
        bind(found)


@pytest.mark.parametrize(
    ("name", "ending"), [("KnobMeasurements", r"; it has moved to harness\.tune\.tune$"), ("gone", r"\)$")]
)
def test_a_name_that_a_package_took_over_from_a_module_gives_the_new_module_where_it_is_there(
    tmp_path: Path, name: str, ending: str
) -> None:
    file = f"tidyold{name.lower()}"
    (tmp_path / f"{file}.py").write_text(f"from harness.tune import {name}\n\ndef attack(observation, rng): ...\n")
    sys.path.append(str(tmp_path))

    with pytest.raises(HarnessError, match=rf"cannot import name '{name}' .*{ending}"):
        bind(entry(f"{file}:attack"))


def test_built_in_plugins_are_found_under_their_old_names_where_only_harness_is_installed(tmp_path: Path) -> None:
    """In a checkout the folder `attacks` is importable too; in an installation it is not."""
    (tmp_path / "harness").symlink_to(Path(harness.__file__).parent)
    code = (
        "import sys, pathlib; sys.path = [place for place in sys.path if not pathlib.Path(place, 'attacks').is_dir()]; "
        "from harness.registry import Entry; from harness.registry.availability import why_unavailable; "
        "print(why_unavailable(Entry('mine', 'attacks', 'attacks.cnn:cnn', origin='mine.yaml')))"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )

    assert done.stdout == "attacks.cnn has moved; write use: harness.plugins.attacks.cnn:cnn\n"


def test_a_plugin_that_imports_a_moved_module_is_refused_with_the_new_name(tmp_path: Path) -> None:
    (tmp_path / "tidyold.py").write_text("from harness.draws import Draws\n\ndef attack(observation, rng): ...\n")
    sys.path.append(str(tmp_path))
    hint = "harness.draws has moved to harness.images.draws"

    assert (why_unavailable(entry("tidyold:attack")) or "").endswith(f"(imported by tidyold); {hint}")
    with pytest.raises(HarnessError, match=r"No module named 'harness\.draws'; it has moved to harness\.images\.draws"):
        bind(entry("tidyold:attack"))


# ---- data sets

COARSE = """
datasets:
  mine: {use: "harness.coarse:coarse", version: 1, cite: me, params: {of: FOLDER, groups: {pet: [cat], wild: [fox]}}}
"""
ARCHIVES = """
datasets:
  mine: {use: "harness.archives:class_folders", version: 1, cite: me, params: {folder: mine, archives: {}, classes: {},
    test_list: null, per_class: {train: 1, test: 1}, size: 64}}
"""


def test_a_coarse_data_set_still_works_under_its_old_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The registry file of an earlier version's documentation."""
    for name, level in (("cat", 0), ("fox", 100)):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(8):
            Image.new("RGB", (16, 16), (level + number,) * 3).save(tmp_path / f"images/{name}/{number}.png")
    (tmp_path / "mine.yaml").write_text(COARSE.replace("FOLDER", str(tmp_path / "images")))

    with caplog.at_level(logging.WARNING):
        found = load_registry([tmp_path / "mine.yaml"]).get("datasets", "mine")

    (warning,) = [record.getMessage() for record in caplog.records]
    assert warning.endswith("harness.coarse has moved; write use: harness.data.sources.coarse:coarse")
    assert why_unavailable(found) is None and found.module == "harness.data.sources.coarse"
    assert load("mine", cache=tmp_path / "cache", entries={"mine": bind(found)}).private.classes == ("pet", "wild")


def test_class_folders_still_work_under_their_old_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "mine.yaml").write_text(ARCHIVES)

    found = load_registry([tmp_path / "mine.yaml"]).get("datasets", "mine")

    assert bind(found).func.__module__ == "harness.data.sources.archives"  # type: ignore[attr-defined]
    assert "write use: harness.data.sources.archives:class_folders" in caplog.text
    assert "\n" not in caplog.records[0].getMessage()


def test_built_in_entries_name_current_modules(caplog: pytest.LogCaptureFixture) -> None:
    load_registry()

    assert not caplog.records
