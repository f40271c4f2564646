"""Links of a folder of HTML pages, read without a browser: what each leads to, and whether that is there."""

from __future__ import annotations

import re
from functools import lru_cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LINKS = {"a": "href", "link": "href", "script": "src", "img": "src", "form": "action", "iframe": "src", "source": "src"}


class Page(HTMLParser):
    """The links, the ids and the text of one page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[tuple[str, str]] = []
        self.ids: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._silent = 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append((tag, found))
        self._silent += tag in ("script", "style")
        if found.get("id"):
            self.ids.append(found["id"])
        if tag == "a" and found.get("name"):
            self.ids.append(found["name"])
        if LINKS.get(tag) in found:
            self.links.append((tag, found[LINKS[tag]] or ""))

    def handle_endtag(self, tag):
        self._silent -= tag in ("script", "style")

    def handle_data(self, data):
        if not self._silent:
            self.text += data

    @property
    def words(self) -> str:
        return re.sub(r"\s+", " ", self.text)


@lru_cache(maxsize=4000)
def read(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def outside(folder: Path) -> set[str]:
    """Every address that leaves the folder for another host, or begins at the root of one."""
    links = {link for path in folder.rglob("*.html") for _, link in read(path).links}
    return {link for link in links if urlsplit(link).scheme not in ("", "data") or link.startswith("/")}


def broken(folder: Path) -> list[str]:
    """Relative links that lead to no file of the folder, or to no place in it."""
    found, folder = [], folder.resolve()
    for path in sorted(folder.rglob("*.html")):
        for _, link in read(path).links:
            parts = urlsplit(link)
            if parts.scheme:
                continue
            to = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if to.is_dir():
                to /= "index.html"
            inside = folder in to.parents and to.is_file()
            place = unquote(parts.fragment)
            if not inside or (place and to.suffix == ".html" and place not in read(to).ids):
                found.append(f"{path.relative_to(folder)}: {link}")
    return found
