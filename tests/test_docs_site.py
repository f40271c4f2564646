"""The documentation as a site: built strictly; links lead somewhere, pages are what GitHub shows, nothing is fetched.

Skipped without the extra `docs`; `dev` holds it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from markdown_it import MarkdownIt

from tests.helpers.browser import needs_chromium, size, start
from tests.helpers.paths import ROOT
from tests.helpers.site_links import broken, outside, read
from tests.report.test_page import find, prefer, script, wait

pytest.importorskip("material", reason="mkdocs-material is not installed: pip install -e '.[docs]'")
pytest.importorskip("mkdocstrings", reason="mkdocstrings is not installed: pip install -e '.[docs]'")

TAGS = {
    "table", "tr", "td", "li", "pre", "code", "h1", "h2", "h3", "h4", "em", "strong", "img", "blockquote", "details",
}  # fmt: skip
PAGES = ("index.html", "what-you-can-do.html", "api/evaluate.html", "results.html", "leaderboards/imagenette10_96.html")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Built with every warning an error, and no way out of this machine."""
    folder = tmp_path_factory.mktemp("docs") / "site"
    environment = {**os.environ, "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    environment |= {"LEADERBOARD": "", "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "WARNING" not in ran.stderr
    return folder


def test_every_link_leads_to_a_page_and_a_place_of_the_site(site):
    assert len(list(site.rglob("*.html"))) > 40
    assert broken(site) == []


def test_no_page_loads_anything_from_another_host(site):
    """Links lead to other hosts; styles, scripts, pictures and frames are of the site."""
    for path in site.rglob("*.html"):
        for tag, link in read(path).links:
            assert tag == "a" or link.startswith("data:image/png;base64,") or "//" not in link, (path, link)
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert not re.search(r"@import|url\(['\"]?(https?:)?//", styles)


def test_no_address_of_a_repository_is_invented(site):
    written = re.findall(r"https?://[^)\s>\"']+", "".join(path.read_text() for path in ROOT.glob("*.md")))
    written += re.findall(r"https?://[^)\s>\"']+", "".join(path.read_text() for path in (ROOT / "docs").rglob("*.md")))

    assert outside(site) <= set(written)


class Counted(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag in TAGS:
            self.found[tag] += 1


def source_of(page: str) -> Path | None:
    """The Markdown file of a page; None of one that is made: the API, code that is shown, notebooks."""
    if page.startswith(("api/", "source/", "notebooks/")):
        return None
    name = "README.md" if page == "index.html" else page.removesuffix(".html") + ".md"
    return next(path for path in (ROOT / "docs" / name, ROOT / name) if path.is_file())


def test_pages_have_the_tables_lists_headings_and_code_that_github_shows(site):
    """Counted in the page and in what a parser of GitHub's Markdown makes of the same file."""
    github, compared = MarkdownIt("commonmark").enable(["table", "strikethrough"]), 0
    for path in site.rglob("*.html"):
        source = source_of(path.relative_to(site).as_posix())
        if source is not None:
            article = re.search(r"<article[^>]*>(.*?)</article>", path.read_text(encoding="utf-8"), re.S)[1]
            expected = Counted(github.render(source.read_text(encoding="utf-8"))).found
            assert Counted(article).found == expected, path
            compared += 1
    assert compared > 25


def test_every_markdown_file_of_docs_is_in_the_navigation():
    nav = yaml.load((ROOT / "mkdocs.yml").read_text(), _Loader)["nav"]
    listed = set(re.findall(r"[\w/-]+\.md", json.dumps(nav)))
    there = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}

    assert there <= listed
    notebooks = {f"notebooks/{path.stem}.md" for path in (ROOT / "examples" / "notebooks").glob("*.ipynb")}
    assert listed - there == {"index.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", *notebooks}


class _Loader(yaml.SafeLoader):
    """Reads the tags of mkdocs.yml as nothing."""


_Loader.add_multi_constructor("", lambda *_: None)


def test_the_public_names_of_the_package_are_documented_with_their_arguments(site):
    import harness

    text = "".join(path.read_text(encoding="utf-8") for path in (site / "api").glob("*.html"))
    ids = {each for path in (site / "api").glob("*.html") for each in read(path).ids}
    for name in harness.__all__:
        assert any(each.startswith("harness.") and each.split(".")[-1] == name for each in ids), name
    for argument in ("public_share", "defense_settings, attack_settings", "num_classes"):
        assert f"<dt><code>{argument}</code></dt>" in text


def test_a_link_that_leads_nowhere_stops_the_build(tmp_path):
    """The strict build would notice: a page with such a link beside the others."""
    (tmp_path / "docs").mkdir()
    for path in (ROOT / "docs").rglob("*"):
        to = tmp_path / "docs" / path.relative_to(ROOT / "docs")
        to.mkdir(exist_ok=True) if path.is_dir() else to.write_bytes(path.read_bytes())
    (tmp_path / "docs" / "glossary.md").write_text("# Glossary\n[gone](usage.md#no-such-place) [gone](../no-such.md)\n")
    settings = (ROOT / "mkdocs.yml").read_text().replace("paths: [.]", f"paths: [{ROOT}]")
    hooks = ROOT / "docs" / "mkdocs"
    settings = settings.replace("hooks: [docs/mkdocs/links.py]", f"hooks: [{hooks / 'links.py'}]")
    settings = settings.replace("[docs/mkdocs/docstrings.py]", f"[{hooks / 'docstrings.py'}]")
    (tmp_path / "mkdocs.yml").write_text(settings)

    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)

    assert ran.returncode == 1
    assert "#no-such-place" in ran.stderr and "no-such.md" in ran.stderr


@pytest.mark.slow
def test_make_site_puts_the_leaderboard_below_the_documentation_and_every_link_works(tmp_path):
    folder = tmp_path / "both"
    (tmp_path / "bin").mkdir()
    for name, module in (("harness", "harness"), ("mkdocs", "mkdocs")):
        command = tmp_path / "bin" / name
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n')
        command.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    command = ["make", "site", f"SITE={folder}"]

    for _ in range(2):  # the second time it replaces the first
        ran = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500, check=False
        )
        assert ran.returncode == 0, ran.stderr

    assert broken(folder) == []
    assert ("a", "leaderboard/index.html") in read(folder / "index.html").links
    assert ("a", "../index.html") in read(folder / "leaderboard" / "index.html").links
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 30e6


def test_the_workflow_builds_with_make_and_only_its_last_job_may_publish():
    text = (ROOT / ".github/workflows/pages.yml").read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    jobs = workflow["jobs"]
    steps = [step for job in jobs.values() for step in job["steps"]]

    assert workflow["permissions"] == {"contents": "read"}
    assert "permissions" not in jobs["build"]
    assert jobs["publish"]["permissions"] == {"pages": "write", "id-token": "write"}
    assert not any("run" in step for step in jobs["publish"]["steps"])
    assert "make site" in [step.get("run") for step in jobs["build"]["steps"]]
    assert all(re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", step["uses"]) for step in steps if "uses" in step)
    published = [job["if"] for job in (jobs["publish"],)]
    published += [step["if"] for step in steps if "upload-pages" in step.get("uses", "")]
    assert set(published) == {"github.event_name != 'pull_request' && github.ref == 'refs/heads/main'"}


# In a browser, from disk


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    driver = start(tmp_path_factory)
    yield driver
    driver.quit()


@needs_chromium
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_its_width_follows_the_theme_and_asks_no_other_host(browser, site, name, width, scheme):
    size(browser, width, 844, phone=width < 500)
    prefer(browser, scheme)
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(f"{site.as_uri()}/{name}")
    wait(browser, "document.readyState === 'complete'")

    assert script(browser, "return document.documentElement.scrollWidth") == width
    ground = script(browser, "return getComputedStyle(document.body).backgroundColor")
    assert (sum(int(part) for part in re.findall(r"\d+", ground)[:3]) > 380) == (scheme == "light")
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    asked = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [m["params"]["request"]["url"] for m in asked if m["method"] == "Network.requestWillBeSent"]
    assert urls and all(url.startswith((site.as_uri(), "data:", "blob:", "about:")) for url in urls)


@needs_chromium
def test_the_search_works_in_a_page_from_disk(browser, site):
    size(browser, 1280, 900)
    browser.get(f"{site.as_uri()}/index.html")
    find(browser, "input[data-md-component=search-query]").send_keys("posterize")

    wait(browser, "document.querySelectorAll('.md-search-result__item').length > 0", 30)
    assert "Usage" in find(browser, ".md-search-result__list").text
