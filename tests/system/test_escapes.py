"""harness.system.text: what other people wrote, as each language shows it and nothing more."""

import html
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console

from harness.system.text import as_text, csv_cell, csv_text, is_text, markdown, mathtext, one_line, printable

HOSTILE = [
    "a\\", "[x](javascript:alert(1))", "![x](http://e/x.png)", "<script>alert(1)</script>", "<img src=x onerror=1>",
    "*b*", "_i_", "__b__", "~~s~~", "`c", "# h", "> q", "1. x", "- x", "---", "===", "&lt;b&gt;", "a|b", "[x]: http://e",
    "[x][y]", "]", "[", "\\[x](y)", "\\<b>", "a\\*b*", "x ** y", "Doe [/v2]", "\x1b[31mred", "<!-- c", "</td>", "***",
    "&#60;b&#62;", ".71 [.69, .73] Doe [/v2", "<a@b.c>", "[a](b", "a](b)", "\\\\", "![", "[[x]](y)", "x\\|y", "[x] (y)",
]  # fmt: skip
TABLE = "| a |\n|---|\n|"
RENDER = MarkdownIt("commonmark").enable(["table", "strikethrough"])


ORDINARY = [
    "noise_mix", "-", ".71 [.69, .73]", "p < .05", "a & b", "the trait `blurs`", "x -> y", "3 of 4 (75%)", "no * here",
    "labels=cat:['kitten', 'tom']", "weights=0.5,0.5/0.6,0.4", "<- most", "10 [8%, 12%]",
]  # fmt: skip


@pytest.mark.parametrize("plain", ORDINARY)
def test_ordinary_text_stays_as_it_is_in_markdown(plain):
    assert markdown(plain) == plain


@pytest.mark.parametrize(
    "around", ["{}", "* {}", "#### {}", "| a |\n|---|\n| {} |", "| a |\n|---|\n| [{}](r/x.json) |"]
)
@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_markdown_shows_hostile_text_and_makes_nothing_of_it(text, around):
    written = markdown(text).replace("|", "\\|") if "|" in around else markdown(text)
    page = RENDER.render(around.format(written))
    kept = {"p", "h4", "ul", "li", "table", "thead", "tbody", "tr", "th", "td"} | ({"a"} if "](r/" in around else set())
    assert set(re.findall(r"<([a-z0-9]+)[ >]", page)) <= kept
    assert set(re.findall(r'href="([^"]*)"', page)) <= {"r/x.json"}
    shown = html.unescape(re.sub(r"<[^>]*>", "", page)).strip()
    assert shown.removeprefix("a").strip() == one_line(text) if "|" in around else shown == one_line(text)


@given(st.text("[]()!<>&*_`~\\#|:-+ab1.\n ;/", max_size=25))
def test_no_text_makes_a_link_or_an_element(text):
    page = RENDER.render(markdown(text)) if text.strip() != "-" else ""
    assert not re.search(r"<(a|img|script|h[1-6]|hr|em|strong|s|blockquote|ul|ol|table)\b", page), (text, page)


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=1+1", "'=1+1"), ("+a", "'+a"), ("-x", "'-x"), ("@a", "'@a"), ("\t=1", "'\\t=1"), (" =1", "' =1"),
        ("-1", "-1"), ("-1.5e-3", "-1.5e-3"), ("-", "-"), ("-1+1", "'-1+1"), ("mix", "mix"), (-2.5, -2.5), (None, None),
        ("a\x1bb", "a\\x1bb"), ("'=1", "''=1"), ("'' @a", "''' @a"), ("'tis", "'tis"), ("'", "'"),
    ],
)  # fmt: skip
def test_csv_cells_are_no_formulas(cell, written):
    assert csv_cell(cell) == written


@given(st.text("'=+-@ 1ae.", max_size=8))
@example("'-5")
@example("-5")
def test_text_is_read_back_from_a_csv_cell(text):
    assert csv_text(csv_cell(text)) == text


def test_what_controls_a_terminal_or_turns_a_line_is_written_out():
    assert one_line("a\x1b[31m\u202eb\u2028c\x9bd\n") == "a\\x1b[31m\\u202eb\\u2028c\\x9bd\\n"
    assert printable("a\nb\x07") == "a\nb\\x07"
    assert is_text("é 名 🙂 a-b") and not is_text("\u2066") and not is_text("\udcff")


@pytest.mark.parametrize("text", ["faces[v2]", "[/v2]", "[red]x[/red]", ":smile:", "[link=http://e]x[/link]", "a\\[b]"])
def test_rich_shows_markup_as_it_is(text):
    console = Console(width=200)
    with console.capture() as shown:
        console.print(as_text(text))
    assert shown.get().strip() == text


@pytest.mark.parametrize("text", ["$x^2$", "10$ and 20$", r"\$x$", r"a\b_c^{2}", "$", r"\frac{1}{2}$"])
def test_matplotlib_shows_dollars_as_they_are(text):
    from matplotlib import cbook
    from matplotlib.figure import Figure

    drawn = Figure().text(0, 0, mathtext(text))
    assert not cbook.is_math_text(drawn.get_text())
    assert drawn._preprocess_math(drawn.get_text()) == (text, False)
