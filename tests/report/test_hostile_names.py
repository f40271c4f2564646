"""Names from foreign records reach the tables, the page and the figures as they are, and nothing else."""

import csv
import html
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt

from harness.cli import main
from harness.records import Records
from harness.records.store import RunSpec
from harness.system.text import one_line
from tests.helpers.rows import DATASET, attacked, release, trained

NAMES = [
    "../victim/board",
    "/etc/victim",
    "..",
    "CON",
    "-rf",
    ".hidden",
    "x" * 300,
    "Stripes",
    "stripes",
    "stripes-0123456789ab",
    "a\nb",
    "faces[v2]",
    "Doe [/v2]",
    "=1+1",
    "@SUM(A1)",
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    "[x](javascript:alert(1))",
    "![x](http://example.org/x.png)",
    "a|b\\|c\\",
    "&lt;b&gt; $x^$ 10$",
    "\x1b[31mred\x07",
    "\u202eevil\u2028",
    "*b* _i_ ~~s~~ `c",
    ":smile: héß 名前",
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Boards, page and figures of records whose data sets, defenses and attacks have these names."""
    folder = tmp_path_factory.mktemp("hostile")
    for number, name in enumerate(NAMES):
        data = {**DATASET, "name": name, "fingerprint": f"{number:032x}"}
        for each in (
            release(name, dataset=data),
            trained(0.9, name, dataset=data),
            attacked(f"external:{name}"[:300], name, dataset=data),
            attacked("smooth", name, dataset=data, status="failed"),
        ):
            each.spec.inputs["defense"]["params"] = {"knob": name}
            failed = replace(each, reason=name) if each.reason else each
            Records(folder / "r").write(replace(failed, spec=RunSpec(each.spec.kind, each.inputs)))
    (folder / "victim").mkdir()
    assert main(["rank", "--records", str(folder / "r"), "--out", str(folder / "lb")]) == 0
    out = [str(folder / "page.html"), "--figures", str(folder / "figures")]
    assert main(["report", "--records", str(folder / "r"), "--out", *out]) == 0
    return folder


def test_every_file_is_in_its_folder_and_each_board_has_one(place):
    assert sorted(path.name for path in place.iterdir()) == ["figures", "lb", "page.html", "r", "victim"]
    assert not list((place / "victim").iterdir())
    files = [path.name for path in (place / "lb").iterdir()]
    assert len(files) == 3 * len(NAMES) == len({name.casefold() for name in files})
    assert all(len(name) < 140 and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 _.=@\[\]-]*", name) for name in files), files
    for path in (place / "lb").glob("*.json"):
        (board,) = json.loads(path.read_text())["boards"]
        assert board["dataset"]["name"] in NAMES


def test_markdown_shows_each_name_and_links_to_records_alone(place):
    for path in (place / "lb").glob("*.md"):
        text = path.read_text()
        (name,) = {row["dataset"] for row in json.loads(path.with_suffix(".json").read_text())["boards"][0]["rows"]}
        page = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text)
        assert set(re.findall(r"<([a-z0-9]+)[ >]", page)) <= {
            "h1", "h2", "h3", "h4", "p", "a", "ul", "li", "table", "thead", "tbody", "tr", "th", "td", "code",
            "details", "summary", "strong", "em",
        }, path  # fmt: skip
        links = re.findall(r'href="([^"]*)"', page)
        assert all(re.fullmatch(r"\.\./r/[0-9a-f]{24}\.json|#row-[0-9]+", to) for to in links)
        assert "src=" not in re.sub(r">[^<]*<", "><", page)
        title = html.unescape(re.search(r"<h1>(.*?)</h1>", page)[1])
        assert title == one_line(name) if "`" not in name else "c" in title
        widths = {line.replace("\\|", "").count("|") for line in text.splitlines() if line.startswith("|")}
        assert len(widths) <= 3  # of the tables of rows, of attacks and of scores


def test_csv_has_no_formula_and_the_numbers_are_numbers(place):
    found = set()
    for path in (place / "lb").glob("*.csv"):
        for row in csv.DictReader(path.read_text().splitlines()):
            found.add(row["dataset"])
            for name, cell in row.items():
                assert not cell.startswith(("=", "+", "@", "\t")), (name, cell)
                assert not cell.startswith("-") or cell == "-" or float(cell) < 0
            assert float(row["dssim_mean"] if "dssim_mean" in row else row["private"]) > 0
    assert found == {("'" if name[0] in "=@-" else "") + one_line(name) for name in NAMES}


class _Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.texts, self.scripts = set(), set(), [], 0

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.scripts += tag == "script"

    def handle_data(self, data):
        self.texts.append(data)


def test_the_page_has_the_names_as_text_and_no_element_of_theirs(place):
    page = _Page()
    text = (place / "page.html").read_text()
    page.feed(text)
    assert "img" not in page.tags and "onerror" not in page.attributes
    plain = _Page()
    plain.feed(re.sub(r"(?s)<script.*?</script>", "", text))
    assert not plain.scripts
    shown = "".join(plain.texts)
    for name in (
        "</script><script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "faces[v2]",
        "&lt;b&gt; $x^$ 10$",
    ):
        assert name in shown
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", shown)


def test_figures_are_drawn_with_the_names_as_they_are(place):
    drawn = sorted((place / "figures").glob("attacks_*.svg"))
    assert len(drawn) == len(NAMES)
    texts = "".join(html.unescape(re.sub(r"<[^>]*>", "", path.read_text())) for path in drawn)
    assert "&lt;b&gt; $x^$ 10$" in texts and "*b* _i_ ~~s~~ `c" in texts
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e]", texts)


def test_the_terminal_shows_the_names_without_markup_and_control_characters(place, capsys):
    main(["rank", "--records", str(place / "r"), "--out", str(place / "lb")])
    shown, said = capsys.readouterr()
    for name in ("faces[v2]", "Doe [/v2]", ":smile:"):
        assert name in shown
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069\u2028]", shown + said)


def test_a_file_that_is_no_board_is_not_replaced(place, capsys):
    (place / "other").mkdir()
    (place / "other" / "faces[v2].md").write_text("# How faces are made\n")
    assert main(["rank", "--records", str(place / "r"), "--out", str(place / "other")]) == 2
    assert "is no table of boards and would be replaced" in capsys.readouterr().err
    assert [path.name for path in (place / "other").iterdir()] == ["faces[v2].md"]
