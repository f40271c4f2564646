"""The pages of the leaderboard site: every link leads somewhere, figures are those of the records, names are text."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from harness.cli import main
from harness.leaderboard.format import short
from harness.records import Records
from harness.records.store import RunResult, RunSpec
from harness.report.collect import collect
from harness.report.site.pages import Site, pages
from harness.report.site.record_tables import MOST_LINES, flat, score_lines
from tests.helpers.answers import refused
from tests.helpers.crossed import DATASET, DEFENSES, EVIL, cross, write
from tests.helpers.paths import ROOT
from tests.helpers.site_links import broken, outside, read
from tests.report.conftest import NASTY
from tests.report.test_hostile_names import NAMES

SAME_NAME = {**DATASET, "fingerprint": "f" * 32, "private": 90}


def call(capsys, *arguments):
    code = main(["site", *map(str, arguments)])
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """A complete board, one of another data set of the same name with one seed, and hostile names on both."""
    made = [*cross(defenses=(*DEFENSES[:4], NASTY)), *cross(1, DEFENSES[:2], SAME_NAME)]
    return write(tmp_path_factory.mktemp("records"), made)


@pytest.fixture(scope="module")
def site(records, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "site"
    assert main(["site", "--records", str(records), "--out", str(folder)]) == 0
    return folder


def test_every_link_leads_to_a_page_and_a_place_of_the_site(site):
    assert broken(site) == []
    assert outside(site) == set()


def test_no_place_has_the_name_of_another(site):
    for path in site.rglob("*.html"):
        ids = read(path).ids
        assert len(ids) == len(set(ids)), path


def test_each_record_has_a_page_with_its_scores_inputs_facts_and_seconds(site, records):
    keys = {path.stem for path in records.glob("*.json")}
    assert {path.stem for path in (site / "records").iterdir()} == keys

    for path in sorted(records.glob("*.json"))[::40]:
        record = json.loads(path.read_text())
        words = read(site / "records" / f"{path.stem}.html").words
        for name, score in record["scores"].items():
            assert re.search(rf"{name}\s?{re.escape(short(score['mean']))}", words), (path, name)
        assert "seconds 12.5" in words or "seconds12.5" in words
        assert record["inputs"]["code"] in words and record["inputs"]["dataset"]["fingerprint"] in words
        assert record["status"] in words


def test_a_pair_of_images_has_no_frechet_distance_and_its_score_is_not_called_so():
    """The key of a record stays; a metric without its weights is a line without a figure."""
    nothing = {"mean": None, "low": None, "high": None, "n": 0, "reason": "no weights"}
    record = RunResult(RunSpec("release", {}), "ok", scores={name: nothing for name in ("dists", "fid", "lpips")})

    lines = score_lines(record)

    shown = [("fid", "Inception feature distance"), ("lpips", "LPIPS"), ("dists", "DISTS")]
    assert [(line.name, line.label) for line in lines] == shown
    assert [line.rest[2] for line in lines] == ["0"] * 3


def test_a_complete_board_is_first_and_its_verdict_stands_before_any_table(site):
    index = read(site / "index.html")
    heads = re.findall(r"hand_made \d+ images, 64.px (.*?\.)", index.words)

    assert len(heads) == 2
    assert re.match(r"(None|\d+) of \d+ judged rows? pass", heads[0])
    assert "not yet judged" in heads[1]
    text = (site / "index.html").read_text()
    assert text.index('class="verdict"') < text.index("<table")


def test_two_data_sets_of_one_name_have_a_page_each(site):
    assert {path.name for path in (site / "boards").iterdir()} == {"hand_made-01234567.html", "hand_made-ffffffff.html"}
    first = read(site / "boards" / "hand_made-01234567.html").words
    assert "200 private" in first and "90 private" not in first


def test_a_defense_has_its_rows_of_every_board_with_the_records_of_each_attack(site, records):
    page = read(site / "defenses" / "mix.html")
    linked = {re.search(r"records/([0-9a-f]{24})", link)[1] for _, link in page.links if "/records/" in link}
    made = [json.loads(path.read_text()) for path in records.glob("*.json")]
    ok = {each["key"] for each in made if each["inputs"]["defense"]["name"] == "mix" and each["status"] == "ok"}

    assert linked == ok
    assert page.words.count("hidden by dSSIM") == 6  # three numbers of epochs on two boards


def test_a_script_in_a_name_is_text_everywhere(site):
    shown = 0
    for path in site.rglob("*.html"):
        page = read(path)
        scripts = [attributes for tag, attributes in page.tags if tag == "script"]
        assert all("src" in each or each.get("type") == "application/json" for each in scripts), path
        assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes), path
        shown += EVIL in page.text
    assert shown > 5


def test_the_search_knows_every_page(site):
    text = (site / "search.html").read_text(encoding="utf-8")
    entries = json.loads(re.search(r'id="entries">(.*?)</script>', text, re.S)[1])
    known = {entry["to"].partition("#")[0] for entry in entries}
    made = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}

    assert {name for name in made if "/" in name} == {name.replace("%2C", ",") for name in known}
    assert {entry["kind"] for entry in entries} == {"board", "defense", "record"}


def test_hostile_names_stay_in_the_folder_and_are_pages_of_their_own(tmp_path):
    made = cross(1, DEFENSES[:1])
    for number, name in enumerate(NAMES):
        for each in made[:2]:
            inputs = json.loads(json.dumps(each.inputs))
            inputs["dataset"] |= {"name": name, "fingerprint": f"{number:032x}"}
            inputs["defense"] |= {"name": name, "params": {"knob": name}}
            Records(tmp_path / "r").write(replace(each, spec=RunSpec(each.spec.kind, inputs)))

    assert main(["site", "--records", str(tmp_path / "r"), "--out", str(tmp_path / "s")]) == 0

    assert sorted(path.name for path in tmp_path.iterdir()) == ["r", "s"]
    assert len({path.name.casefold() for path in (tmp_path / "s/defenses").iterdir()}) == len(NAMES)
    assert broken(tmp_path / "s") == [] and outside(tmp_path / "s") == set()
    for path in (tmp_path / "s").rglob("*.html"):
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", path.read_text()), path
        assert not {tag for tag, _ in read(path).tags} & {"img", "b"} or "boards" in path.parts, path


def test_a_record_with_thousands_of_facts_has_a_page_of_bounded_size():
    lines = flat({"steps": {str(at): {"a": {"b": at}} for at in range(5000)}, "text": "x" * 50_000})

    assert len(lines) == MOST_LINES + 1
    assert "JSON file" in lines[-1][1]
    assert max(len(value) for _, value in flat({"text": "x" * 50_000})) < 1000


def test_records_without_a_row_are_a_site_too(tmp_path, capsys):
    folder = write(tmp_path / "r", [each for each in cross(1, DEFENSES[:1]) if each.spec.kind != "release"])

    assert call(capsys, "--records", folder, "--out", tmp_path / "s")[0] == 0
    assert "No board has a row" in read(tmp_path / "s" / "index.html").words
    assert broken(tmp_path / "s") == []


@pytest.mark.slow
def test_the_committed_records_are_a_site_of_a_few_megabytes():
    report = collect(ROOT / "leaderboards" / "records", None)
    files = dict(pages(Site(report)))

    assert len(report.records) > 700
    assert sum(map(len, files.values())) < 10e6
    assert max(len(content) for name, content in files.items() if not name.startswith("assets/")) < 500_000


# The command and the folder


def test_the_command_says_what_it_wrote_and_json_is_one_document(records, tmp_path, capsys):
    code, out, err = call(capsys, "--records", records, "--out", tmp_path / "s", "--json")

    made = json.loads(out)
    assert code == 0 and f"wrote {tmp_path / 's' / 'index.html'} (2 boards, " in err
    assert made["files"] == sum(path.is_file() for path in (tmp_path / "s").rglob("*")) - 1  # beside the listing
    assert [(tmp_path / "s" / board["page"]).is_file() for board in made["boards"]] == [True, True]
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_an_unchanged_site_is_replaced(records, tmp_path, capsys):
    assert call(capsys, "--records", records, "--out", tmp_path / "s")[0] == 0
    other = write(tmp_path / "other", cross(1, DEFENSES[:1]))

    assert call(capsys, "--records", other, "--out", tmp_path / "s")[0] == 0

    assert [path.name for path in (tmp_path / "s/defenses").iterdir()] == ["none.html"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "s"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda site: (site / "index.html").write_text("mine"), "index.html was changed since"),
        (lambda site: (site / "boards/notes.txt").write_text("mine"), "boards/notes.txt was not written by"),
        (lambda site: (site / "site.json").unlink(), "is not empty and no site"),
        (lambda site: (site / "link").symlink_to(site / "index.html"), "link was not written by"),
        (lambda site: (site / "link").symlink_to(site / "boards"), "link was not written by"),
    ],
)
def test_nothing_that_a_user_wrote_is_replaced(small, tmp_path, capsys, change, words):
    assert call(capsys, "--records", small, "--out", tmp_path / "s")[0] == 0
    change(tmp_path / "s")
    before = {path: path.read_bytes() for path in (tmp_path / "s").rglob("*") if path.is_file()}

    assert refused(call(capsys, "--records", small, "--out", tmp_path / "s"), words, "--out")
    assert {path: path.read_bytes() for path in (tmp_path / "s").rglob("*") if path.is_file()} == before


def test_other_places_are_refused_before_any_work(small, tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "index.html").write_text("mine")

    assert refused(call(capsys, "--records", small, "--out", tmp_path / "file"), "is a file")
    assert refused(call(capsys, "--records", small, "--out", tmp_path / "full"), "no site of `harness site`")
    assert refused(call(capsys, "--records", small, "--out", tmp_path / "no/site"), "there is no folder")
    assert refused(call(capsys, "--records", tmp_path / "full", "--out", tmp_path / "s"), "no records in")
    assert refused(call(capsys, "--records", small, "--out", tmp_path / "s", "--home", "javascript:alert(1)"), "--home")
    assert not (tmp_path / "s").exists()


def test_a_run_that_fails_leaves_the_site_as_it_was(small, tmp_path, capsys, monkeypatch):
    assert call(capsys, "--records", small, "--out", tmp_path / "s")[0] == 0
    before = sorted(path.name for path in (tmp_path / "s").rglob("*"))

    def stop(site):
        yield "index.html", b"new"
        raise MemoryError

    monkeypatch.setattr("harness.report.site.pages.pages", stop)
    assert call(capsys, "--records", small, "--out", tmp_path / "s")[0] == 1

    assert sorted(path.name for path in (tmp_path / "s").rglob("*")) == before
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_every_page_links_home_where_one_is_named(small, tmp_path, capsys):
    assert call(capsys, "--records", small, "--out", tmp_path / "s", "--home", "../index.html")[0] == 0

    for path in (tmp_path / "s").rglob("*.html"):
        up = "../" * (len(path.relative_to(tmp_path / "s").parts) - 1)
        assert ("a", f"{up}../index.html") in read(path).links
