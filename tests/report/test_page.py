"""The report's page in a browser: nothing leaves it, nothing breaks, tables sort and filter, names stay text."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from harness.report.collect import collect
from harness.report.html.page import render
from tests.helpers.browser import needs_chromium, size, start
from tests.helpers.crossed import DEFENSES, EVIL, cross, write

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    driver = start(tmp_path_factory)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The page of a cross with a hostile name and a sheet of pictures."""
    folder = tmp_path_factory.mktemp("page")
    write(folder, cross(defenses=(*DEFENSES, (EVIL, {"k<b>": "</script>"}, [0.5, 0.5], 0.5, 0.3, 0.7))))
    Image.new("RGB", (2000, 40), "white").save(folder / "sheet.png")
    (folder / "report.html").write_text(render(collect(folder)), encoding="utf-8")
    return (folder / "report.html").as_uri()


@pytest.fixture
def page(browser, address):
    """Fresh, at a desktop's size, with charts drawn."""
    size(browser, 1280, 900)
    prefer(browser)
    browser.get("about:blank")
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(address)
    wait(browser, "document.querySelectorAll('.plot .main-svg').length >= 2")
    yield browser
    script(browser, "localStorage.clear()")
    assert [entry for entry in browser.get_log("browser") if entry["level"] != "INFO"] == []


def prefer(browser, scheme="light"):
    """The system's colour scheme; without motion, so that clicks hit."""
    wishes = [{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wishes})


def wait(browser, condition, seconds=120):
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, seconds, 0.1).until(lambda driver: driver.execute_script(f"return {condition}"))


def script(browser, text, *arguments):
    return browser.execute_script(text, *arguments)


def find(browser, selector):
    return browser.find_element("css selector", selector)


def shown(browser):
    """The defenses of the rows that can be seen, in their order."""
    return script(
        browser,
        "return [...document.querySelectorAll('.rows tbody tr')].filter(r => r.offsetParent !== null)"
        ".map(r => r.querySelector('a').textContent)",
    )


def column(browser, number):
    return script(
        browser,
        "return [...document.querySelectorAll('.rows tbody tr')].filter(r => r.offsetParent !== null)"
        f".map(r => r.cells[{number}].dataset.v)",
    )


def place(browser, head):
    """The number of a column, from 0, by its head."""
    heads = script(browser, "return [...document.querySelectorAll('.rows thead th')].map(h => h.textContent.trim())")
    return heads.index(head)


def click(browser, selector):
    script(browser, "document.querySelector(arguments[0]).click()", selector)


def test_no_request_leaves_the_page(page, address):
    """Neither when it is opened nor when a reader uses all of it; what is inside is data."""
    for box in page.find_elements("css selector", ".switch input, .check input"):
        script(page, "arguments[0].click()", box)
    click(page, "#theme")

    asked = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    urls = [m["params"]["request"]["url"] for m in asked if m["method"] == "Network.requestWillBeSent"]
    assert address in urls
    assert [url for url in urls if url != address and not url.startswith(("data:", "blob:"))] == []


def test_the_policy_stops_what_would_leave(page):
    """A request that a script makes is blocked."""
    tried = "fetch('http://192.0.2.1/').then(() => arguments[0]('left'), () => arguments[0]('stopped'))"

    assert page.execute_async_script(tried) == "stopped"

    (refused, *_) = page.get_log("browser")
    assert "Content Security Policy" in refused["message"]


def test_a_script_in_a_name_stays_text_in_tables_charts_and_hover(page):
    from selenium.webdriver.common.action_chains import ActionChains

    script(page, "window.alert = () => { window.harmed = true; }")
    names = script(page, "return [...document.querySelectorAll('.plot .annotation-text')].map(t => t.textContent)")
    assert any(name.startswith("<script>alert('x')") for name in names)
    assert EVIL in shown(page)

    marks = page.find_elements("css selector", "[data-chart=utility] .scatterlayer .trace .points path")
    script(page, "document.querySelector('[data-chart=utility]').scrollIntoView()")
    hovered = set()
    for mark in marks[-8:]:
        ActionChains(page).move_to_element(mark).pause(0.15).perform()
        hovered.add(script(page, "return document.querySelector('[data-chart=utility] .hoverlayer').textContent"))
    assert any(EVIL in text and "k<b>=</script>" in text for text in hovered)
    assert any("sigma=90" in text and "rank 1" in text for text in hovered)
    assert not script(page, "return window.harmed === true")


def test_a_column_sorts_both_ways_and_says_so(page):
    number = place(page, "worst dSSIM")
    head = f".rows thead th:nth-child({number + 1})"
    page.find_element("css selector", f"{head} button").click()
    up = [float(value) for value in column(page, number)]
    assert find(page, head).get_attribute("aria-sort") == "ascending"
    page.find_element("css selector", f"{head} button").click()
    down = [float(value) for value in column(page, number)]

    assert len(up) == 7 and up == sorted(up) and down == up[::-1]
    assert find(page, head).get_attribute("aria-sort") == "descending"
    assert len(page.find_elements("css selector", "th[aria-sort]")) == 1


def test_what_has_no_rank_is_last_either_way(page):
    for _ in range(2):
        page.find_element("css selector", ".rows thead th:nth-child(2) button").click()
        ranks = column(page, 1)
        assert ranks[0] == "1" and set(ranks[1:]) == {""}


def test_a_table_sorts_by_the_keyboard(page):
    from selenium.webdriver.common.keys import Keys

    number = place(page, "utility")
    script(page, f"document.querySelector('.rows thead th:nth-child({number + 1}) button').focus()")
    page.switch_to.active_element.send_keys(Keys.ENTER)

    values = [float(value) for value in column(page, number)]
    assert values == sorted(values) and len(values) == 7
    style = "const s = getComputedStyle(document.activeElement); return [s.outlineStyle, parseFloat(s.outlineWidth)]"
    assert script(page, style) == ["solid", 3]


def test_the_filter_keeps_the_rows_that_hold_every_word(page):
    find(page, ".filter").send_keys("noise SIGMA=90")

    assert shown(page) == ["heavy_noise"]
    assert find(page, ".count").text == "1 of 21 rows"


def test_rows_are_filtered_by_their_judgement(page):
    script(
        page,
        "const select = document.querySelector('select.judgement'); select.value = 'unjudged';"
        "select.dispatchEvent(new Event('change'))",
    )

    assert sorted(shown(page)) == ["noise_mix", "none", "shuffle_mix"]


def test_the_number_of_releases_chooses_rows_grids_and_marks_together(page):
    marks = "return document.querySelectorAll('[data-chart=utility] .scatterlayer .trace .points path').length"
    lines = "return [...document.querySelectorAll('.heat tbody tr')].filter(r => r.offsetParent !== null).length"
    before = (len(shown(page)), script(page, lines), script(page, marks))

    click(page, ".releases label:last-of-type")
    wait(
        page,
        f"document.querySelectorAll('[data-chart=utility] .scatterlayer .trace .points path').length > {before[2]}",
    )

    assert before[:2] == (7, 7)
    assert (len(shown(page)), script(page, lines)) == (21, 21)


def test_a_grid_is_chosen_and_a_reason_is_reached(page):
    assert len(visible(page, ".grid")) == 1
    click(page, "label[for$='-grid-top1']")
    assert [grid.get_attribute("data-measure") for grid in visible(page, ".grid")] == ["top1"]
    click(page, "label[for$='-grid-dssim']")

    note = page.find_element("css selector", ".mark.failed .note")
    reason = find(page, f"[id='{note.get_attribute('href').split('#')[1]}']")
    assert "did not converge" in reason.text


def visible(browser, selector):
    return [element for element in browser.find_elements("css selector", selector) if element.is_displayed()]


def test_what_failed_or_is_a_control_is_not_coloured_as_privacy(page):
    paper = script(page, "return getComputedStyle(document.body).backgroundColor")
    for selector in (
        ".mark.control", ".unjudged .mark.worst.hidden-well",
        ".mark.failed", ".mark.skipped", ".mark.inapplicable", ".mark.partial",
    ):  # fmt: skip
        grounds = script(
            page,
            "return [...document.querySelectorAll(arguments[0])].map(c => getComputedStyle(c).backgroundColor)",
            selector,
        )
        assert grounds and set(grounds) <= {paper, "rgba(0, 0, 0, 0)"}, selector
    seen = script(page, "return getComputedStyle(document.querySelector('.mark.seen:not(.control)')).backgroundColor")
    assert seen not in (paper, "rgba(0, 0, 0, 0)")


def test_light_and_dark_follow_the_system_and_the_button(page):
    ground = "return getComputedStyle(document.body).backgroundColor"
    axis = "getComputedStyle(document.querySelector('.plot .xtitle')).fill"
    light, ink = script(page, ground), script(page, f"return {axis}")

    prefer(page, "dark")
    wait(page, f"{axis} !== '{ink}'")
    dark = script(page, ground)
    click(page, "#theme")  # light, whatever the system says
    wait(page, f"{axis} === '{ink}'")

    assert light != dark and script(page, ground) == light
    click(page, "#theme")
    assert script(page, ground) == dark and find(page, "#theme").text == "Theme: dark"


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_only_tables_and_sheets_scroll_sideways(page, width):
    size(page, width, 844, phone=width < 500)
    wait(page, f"document.querySelector('.plot .main-svg').clientWidth <= {width}")

    assert script(page, "return document.documentElement.scrollWidth") == width
    assert script(page, "const t = document.querySelector('.sheet .scroll'); return t.scrollWidth > t.clientWidth")


def test_the_first_key_leads_past_the_head(page):
    from selenium.webdriver.common.keys import Keys

    find(page, "body").send_keys(Keys.TAB)

    assert page.switch_to.active_element.text == "Skip to the figures"
    page.switch_to.active_element.send_keys(Keys.ENTER)
    assert page.switch_to.active_element.get_attribute("id") == "main"


def test_every_control_has_a_name(page):
    """As a screen reader takes it."""
    nameless = script(
        page,
        "return [...document.querySelectorAll('button, input, select, a, summary, [role]')]"
        ".filter(e => !(e.textContent.trim() || e.labels?.length || e.ariaLabel || e.getAttribute('aria-labelledby')"
        " || e.classList.contains('count'))).map(e => e.outerHTML)",
    )

    assert nameless == []


def test_a_row_leads_to_its_verdict_and_opens_it(page):
    script(page, "document.querySelector('.rows tbody tr:not([data-off]) a').click()")
    wait(page, "document.querySelector('details:target')?.open === true")

    assert "worst case" in find(page, "details:target").text


def test_without_scripts_every_number_is_there(browser, address):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(address)
        text = find(browser, "body").text

        assert "Scripts are off" in text and "This chart needs JavaScript" in text
        assert len(visible(browser, ".rows tbody tr")) == 21
        assert not visible(browser, ".scripted") and not visible(browser, ".plot")
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
