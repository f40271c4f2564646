"""The leaderboard site in a browser, of the committed records: from disk and below a folder of a server."""

from __future__ import annotations

import functools
import http.server
import json
import threading

import pytest

from harness.cli import main
from tests.helpers.browser import needs_chromium, size, start
from tests.helpers.paths import ROOT
from tests.report.test_page import find, prefer, script, visible, wait

pytestmark = [needs_chromium, pytest.mark.slow]
PAGES = ("index.html", "boards", "defenses", "records", "search.html?q=shuffle_mix")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    top = tmp_path_factory.mktemp("published")
    records = ROOT / "leaderboards" / "records"
    assert main(["site", "--records", str(records), "--out", str(top / "leaderboard")]) == 0
    return top / "leaderboard"


@pytest.fixture(scope="module")
def server(site):
    """The address of the site on a server, in a folder below its top, as on GitHub Pages."""
    handler = functools.partial(_Silent, directory=site.parent)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_address[1]}/leaderboard/"
        listening.shutdown()


class _Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    driver = start(tmp_path_factory)
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser):
    """Opens a page; none of them may write to the console."""
    size(browser, 1280, 900)
    prefer(browser)
    browser.get("about:blank")
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    yield lambda address: browser.get(address) or browser
    assert [entry for entry in browser.get_log("browser") if entry["level"] != "INFO"] == []


def page_of(site, name):
    """A page of this name, or the first of this folder."""
    if (site / name).is_dir():
        return f"{name}/{min(path.name for path in (site / name).iterdir())}"
    return name


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_its_width_and_follows_the_theme(opened, browser, site, name, width, scheme):
    size(browser, width, 844, phone=width < 500)
    prefer(browser, scheme)
    page = opened(f"{site.as_uri()}/{page_of(site, name)}")
    if name == "boards":
        wait(page, f"document.querySelector('.plot .main-svg')?.clientWidth <= {width}")

    assert script(page, "return document.documentElement.scrollWidth") == width
    ground, ink = (
        [int(part) for part in script(page, f"return getComputedStyle(document.body).{what}")[4:-1].split(",")]
        for what in ("backgroundColor", "color")
    )
    assert (sum(ground) > sum(ink)) == (scheme == "light")
    assert script(page, "return document.querySelectorAll('h1').length") == 1


@pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 900)])
def test_the_verdict_on_the_complete_board_is_in_the_first_screen(opened, browser, site, width, height):
    size(browser, width, height, phone=width < 500)
    page = opened(f"{site.as_uri()}/index.html")

    verdict = find(page, ".verdict")
    assert verdict.text.startswith("None of 8 judged rows passes.")
    assert script(page, "return arguments[0].getBoundingClientRect().bottom", verdict) < height
    assert find(page, ".board h2").text.startswith("imagenette10_96")


@pytest.mark.parametrize("of", ["disk", "server"])
def test_a_search_in_the_head_of_a_page_finds_records_and_leads_to_one(opened, site, server, of):
    top = f"{site.as_uri()}/" if of == "disk" else server
    page = opened(f"{top}{page_of(site, 'defenses')}")

    find(page, "header input[type=search]").send_keys("cnn shuffle_mix imagenette10_96\n")
    wait(page, "document.querySelectorAll('#found li').length > 0")
    assert page.current_url.startswith(f"{top}search.html?q=cnn")
    told = script(page, "return [...document.querySelectorAll('#found li')].map(li => li.textContent)")
    assert len(told) == 6 and all("shuffle_mix" in each and "imagenette10_96" in each for each in told)
    assert find(page, "#count").text.startswith("6 of ")

    find(page, "#found a").click()
    wait(page, "document.querySelector('table.scores')")
    assert find(page, "h1").text == "cnn on shuffle_mix"


def test_the_search_says_how_many_there_are_beyond_those_that_it_shows(opened, site):
    page = opened(f"{site.as_uri()}/search.html")

    assert len(page.find_elements("css selector", "#found li")) == 100
    assert "the first 100 are shown" in find(page, "#count").text
    script(page, "const k = document.getElementById('kind'); k.value = 'board'; k.dispatchEvent(new Event('change'))")
    assert len(page.find_elements("css selector", "#found li")) == 2


@pytest.mark.parametrize("of", ["disk", "server"])
def test_a_board_draws_its_charts_and_nothing_is_asked_of_another_host(opened, site, server, of):
    top = f"{site.as_uri()}/" if of == "disk" else server
    page = opened(f"{top}{page_of(site, 'boards')}")
    wait(page, "document.querySelectorAll('.plot .main-svg').length >= 1")

    asked = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    urls = [m["params"]["request"]["url"] for m in asked if m["method"] == "Network.requestWillBeSent"]
    assert len(urls) > 5
    assert [url for url in urls if not url.startswith((top, "data:", "blob:"))] == []


def test_a_row_of_the_first_page_leads_to_its_verdict_attacks_and_records(opened, site):
    page = opened(f"{site.as_uri()}/index.html")
    script(page, "document.querySelector('.brief tbody tr:nth-child(2) a').click()")
    wait(page, "document.querySelector('details:target')?.open === true")
    assert "not hidden by dSSIM" in find(page, "details:target").text

    find(page, "details:target a").click()
    wait(page, "document.querySelector('section:target table.attacks')")
    assert find(page, "h1").text == "shuffle_mix"
    script(page, "document.querySelector('section:target .seeds a').click()")
    wait(page, "document.querySelector('table.scores')")
    assert find(page, "h1").text == "Release of shuffle_mix"


def test_without_scripts_every_figure_is_there(browser, site):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(f"{site.as_uri()}/{page_of(site, 'boards')}")
        assert "Scripts are off" in find(browser, "body").text
        assert len(visible(browser, ".rows tbody tr")) == 9
        browser.get(f"{site.as_uri()}/search.html")
        assert "nothing can be searched" in find(browser, "body").text
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
