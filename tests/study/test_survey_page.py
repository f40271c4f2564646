"""A person answers a whole survey by keyboard, reloads in the middle, saves, and is scored as answered."""

from __future__ import annotations

import json
import time

import pytest

from harness.cli import main
from harness.study.html.page import words
from harness.study.make import write
from tests.helpers.browser import needs_chromium, size, start
from tests.helpers.surveys import CLASSES, survey

pytestmark = needs_chromium
KEY = survey().key


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    driver = start(tmp_path_factory)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("survey")
    write(survey(), folder / "survey", folder / "survey.key.json")
    return (folder / "survey" / "index.html").as_uri()


@pytest.fixture
def page(browser, address, tmp_path):
    """Fresh, at a desktop's size; downloads go to the test's folder."""
    size(browser, 1280, 900)
    browser.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path), "eventsEnabled": False}
    )
    browser.get(address)
    script(browser, "localStorage.clear()")
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(address)
    yield browser
    script(browser, "localStorage.clear()")
    assert [entry for entry in browser.get_log("browser") if entry["level"] != "INFO"] == []


def script(browser, text, *arguments):
    return browser.execute_script(text, *arguments)


def press(browser, *keys):
    """At what has the focus, as a person types: never at an element that was looked for."""
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(browser).send_keys(*keys).perform()


def key(name):
    from selenium.webdriver.common.keys import Keys

    return getattr(Keys, name)


def step(browser):
    """The id of the question that can be seen; else intro or end."""
    return script(
        browser,
        "return [...document.querySelectorAll('.question, #intro, #end')].filter(e => e.offsetParent !== null)"
        ".map(e => e.id).join(' ')",
    )


def ticked(browser, question):
    return script(
        browser,
        "return [...document.getElementById(arguments[0]).querySelectorAll('input:checked')]"
        ".map(e => e.parentElement.textContent.trim())",
        question,
    )


def begin(browser, person):
    """From the top of the page by Tab to the field of the name."""
    for _ in range(10):
        if script(browser, "return document.activeElement.id") == "person":
            break
        press(browser, key("TAB"))
    press(browser, person, key("ENTER"))


def answer(browser, places):
    """Tick the boxes at these places by arrows and Space, then Enter. The focus is on the first box."""
    at = 0
    for place in places:
        press(browser, *[key("ARROW_DOWN")] * (place - at), key("SPACE"))
        at = place
    press(browser, key("ENTER"))


def saved(folder, name):
    deadline = time.monotonic() + 60
    while not (folder / name).exists():
        assert time.monotonic() < deadline, "nothing was saved"
        time.sleep(0.1)
    return folder / name


def asked_for(browser):
    asked = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [m["params"]["request"]["url"] for m in asked if m["method"] == "Network.requestWillBeSent"]


NONE = len(CLASSES)


def choice(number):
    """What the person answers to question `number`: a class, two, or "I cannot tell" (the last box)."""
    return ([number % 4], [0, 3], [NONE])[number % 3]


def test_a_whole_survey_is_answered_by_keyboard_reloaded_saved_and_scored(page, address, tmp_path, capsys):
    begin(page, "heron7")
    for number, question in enumerate(KEY.questions):
        assert step(page) == question.id
        answer(page, choice(number))
        if number == 20:
            page.refresh()
            assert step(page) == KEY.questions[21].id
            assert ticked(page, KEY.questions[20].id) == []  # it is hidden, and filled when it is shown
    assert step(page) == "end"
    assert "all 49 questions" in script(page, "return document.getElementById('summary').textContent")
    for _ in range(5):
        press(page, key("TAB"))
        if script(page, "return document.activeElement.id") == "save":
            break
    press(page, key("ENTER"))

    file = saved(tmp_path, "answers-heron7.json")
    document = json.loads(file.read_text())
    expected = {
        question.id: [CLASSES[place] for place in choice(number) if place != NONE]
        for number, question in enumerate(KEY.questions)
    }
    assert document == {"form": 1, "survey": KEY.survey, "person": "heron7", "answers": expected}
    assert {url for url in asked_for(page) if not url.startswith(("data:", "blob:"))} == {address}

    from pathlib import Path
    from urllib.parse import unquote, urlparse

    survey_key = Path(unquote(urlparse(address).path)).parents[1] / "survey.key.json"
    capsys.readouterr()
    assert main(["survey", "score", str(survey_key), str(file), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["judges"]
    hits = [KEY.classes[number] in expected[question.id] for question in KEY.questions for number in question.classes]
    assert (row["name"], row["pairs"], row["open"], row["cannot_tell"]) == ("heron7", 105, 0, 16)
    assert row["named"] == sum(map(len, expected.values()))
    assert row["right"] == pytest.approx(sum(hits) / row["named"])


def test_i_cannot_tell_and_classes_exclude_each_other(page):
    begin(page, "ann")
    boxes = [*map(words, CLASSES), "I cannot tell"]
    press(page, key("SPACE"), key("ARROW_DOWN"), key("SPACE"))
    assert ticked(page, "q01") == boxes[:2]
    press(page, key("ARROW_UP"), key("ARROW_UP"), key("SPACE"))
    assert ticked(page, "q01") == [boxes[NONE]]
    press(page, key("ARROW_DOWN"), key("SPACE"))
    assert ticked(page, "q01") == [boxes[0]]
    press(page, key("SPACE"))
    assert ticked(page, "q01") == []
    assert script(page, "return JSON.parse(localStorage.getItem(`survey ${arguments[0]}`)).answers", KEY.survey) == {}


def test_answers_are_there_after_back_and_reload_and_open_questions_are_named_at_the_end(page):
    begin(page, "ann")
    answer(page, [1, 2])
    page.refresh()
    assert step(page) == "q02"
    script(page, "document.getElementById('back').click()")
    assert step(page) == "q01" and ticked(page, "q01") == [words(CLASSES[1]), words(CLASSES[2])]
    for _ in KEY.questions:
        script(page, "document.getElementById('next').click()")
    assert step(page) == "end"
    summary = script(page, "return document.getElementById('summary').textContent")
    assert "1 of 49" in summary
    assert script(page, "return [...document.querySelectorAll('#open button')].map(b => b.textContent)") == [
        str(number) for number in range(2, 50)
    ]
    script(page, "document.querySelectorAll('#open button')[3].click()")
    assert step(page) == "q05"


def test_a_name_is_a_word_and_nothing_else_is_asked(page):
    begin(page, "Ann Miller")
    assert step(page) == "intro" and not script(page, "return document.getElementById('person').checkValidity()")
    kinds = script(page, "return [...document.querySelectorAll('input, select, textarea')].map(e => e.type)")
    assert set(kinds) == {"text", "checkbox"} and kinds.count("text") == 1


def test_zoom_enlarges_pixels_and_changes_nothing_else(page):
    begin(page, "ann")
    width = "return document.querySelector('#q01 .viewer img').getBoundingClientRect().width"
    assert script(page, width) == 32 * 8
    press(page, "-")
    assert script(page, width) == 32 * 6
    press(page, "----")
    assert script(page, width) == 32 * 1
    press(page, "--")
    assert script(page, width) == 32 * 0.5
    press(page, "+++")
    assert script(page, width) == 32 * 3
    assert script(page, "return getComputedStyle(document.querySelector('#q01 .viewer img')).filter") == "none"
    rendering = "return getComputedStyle(document.querySelector('#q01 .viewer img')).imageRendering"
    assert script(page, rendering) == "pixelated"


def test_screen_readers_get_the_question_the_boxes_and_the_progress(page):
    """By the browser's own accessibility tree."""
    begin(page, "ann")
    page.execute_cdp_cmd("Accessibility.enable", {})
    nodes = page.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    named = [
        (node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node.get("ignored")
    ]
    boxes = [name for role, name in named if role == "checkbox"]
    assert boxes == [*map(words, CLASSES), "I cannot tell"]
    assert ("group", "Question 1 of 49: What do you recognise in this image?") in named
    assert any(role == "progressbar" and "Question 1 of 49" in name for role, name in named), named
    assert any(role == "image" and "question 1" in name for role, name in named)
    buttons = {name for role, name in named if role == "button"}
    assert {"Zoom out", "Zoom in", "Back", "Next"} <= buttons and "" not in buttons
    focused = script(page, "return document.activeElement.type")
    assert focused == "checkbox"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_a_phone_and_targets_are_large(page, address, scheme):
    size(page, 360, 740, phone=True)
    page.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    page.get(address)
    assert script(page, "return document.documentElement.scrollWidth") <= 360
    begin(page, "ann")
    assert script(page, "return document.documentElement.scrollWidth") <= 360
    heights = script(
        page,
        "return [...document.querySelectorAll('#q01 .option, #next, #back, #larger, #smaller')]"
        ".map(e => Math.min(e.getBoundingClientRect().height, e.getBoundingClientRect().width))",
    )
    assert min(heights) >= 44


def test_where_nothing_can_be_kept_the_page_says_so_and_works(page, address, tmp_path):
    source = "Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('no', 'SecurityError'); }})"
    added = page.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": source})
    try:
        page.get(address)
        assert script(page, "return document.getElementById('unkept').offsetParent !== null")
        begin(page, "owl")
        answer(page, [2])
        for _ in KEY.questions[1:]:
            script(page, "document.getElementById('next').click()")
        script(page, "document.getElementById('save').click()")
        assert json.loads(saved(tmp_path, "answers-owl.json").read_text())["answers"] == {"q01": [CLASSES[2]]}
    finally:
        page.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)
        page.get(address)
