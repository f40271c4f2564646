"""MkDocs hook: files of the repository outside of docs/, to which pages link, are part of the site.

Links are written as GitHub shows them, relative to the file. Here a Markdown file or a notebook outside of docs/
becomes a page (README.md the first one), code and settings become a page that shows them, and pictures and records are
copied. So every link leads to the same thing in the repository and on the site, and no address of the repository is
needed.
"""

from __future__ import annotations

import os
import posixpath
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.nav import Link, Navigation

sys.path.insert(0, str(Path(__file__).parent))
from notebooks import as_markdown

ROOT = Path(__file__).resolve().parents[2]
DOCS = "docs/"
HOME = "README.md"
SHOWN = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".cff": "yaml", ".sh": "bash", ".txt": "text"}
"""Files that become a page which shows them, with the language of each."""
COPIED = {".png", ".svg", ".json", ".csv"}
NOTEBOOK = ".ipynb"
FIRST = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
"""Pages outside of docs/ that the navigation names; the others are those that a page links to."""
_LINK = re.compile(r"(?<=\]\()(?!#)([^)\s:]+?)(#[^)\s]*)?(?=\))")
_FENCE = re.compile(r"^\s*(```|~~~)")


def on_config(config: Any) -> Any:
    """Without the pages that need to know their own address, which is not known: of errors, and the sitemap."""
    config.theme.static_templates -= {"404.html", "sitemap.xml"}
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add what is outside of docs/ and linked, however many links away."""
    waiting = [*FIRST, *(DOCS + file.src_uri for file in files.documentation_pages())]
    seen = set(waiting)
    for path in waiting:
        if not path.startswith(DOCS):
            files.append(_file(path, config))
        if path.endswith(".md"):
            text = (ROOT / path).read_text(encoding="utf-8")
            for target in _targets(text, path):
                if target not in seen and not target.startswith(DOCS):
                    seen.add(target)
                    waiting.append(target)
    return files


def on_nav(nav: Navigation, config: Any, files: Files) -> Navigation:
    """The leaderboard after the results, where it is built with the pages."""
    address = config.extra.get("leaderboard")
    if address:
        after = [item.title for item in nav.items].index("Results")
        nav.items.insert(after + 1, Link("Leaderboard", address))
    return nav


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links as they are from the page's place on the site, and Markdown inside of <details> as GitHub reads it."""
    path = _path_of(page.file.src_uri)
    if path is None:
        return markdown

    def moved(found: re.Match[str]) -> str:
        target = _resolved(found[1], path)
        if target is None:
            return found[0]
        return posixpath.relpath(_place(target), posixpath.dirname(page.file.src_uri) or ".") + (found[2] or "")

    return _outside_code(markdown, lambda line: _LINK.sub(moved, line).replace("<details>", '<details markdown="1">'))


def _file(path: str, config: Any) -> File:
    source, place = ROOT / path, _place(path)
    if source.suffix == NOTEBOOK:
        return File.generated(config, place, content=as_markdown(source))
    if source.suffix in SHOWN:
        text = source.read_text(encoding="utf-8")
        fence = "`" * max(3, 1 + max(map(len, re.findall(r"`+", text)), default=0))
        shown = f"---\nsearch:\n  exclude: true\n---\n# {path}\n\n{fence}{SHOWN[source.suffix]}\n{text}{fence}\n"
        return File.generated(config, place, content=shown, inclusion=InclusionLevel.NOT_IN_NAV)
    inclusion = InclusionLevel.INCLUDED if path in FIRST else InclusionLevel.NOT_IN_NAV
    return File.generated(config, place, abs_src_path=str(source), inclusion=inclusion)


def _place(path: str) -> str:
    """Where a file of the repository is on the site, as MkDocs writes it: relative to docs/."""
    if path == HOME:
        return "index.md"
    if path.startswith(DOCS):
        return path.removeprefix(DOCS)
    if path.endswith(NOTEBOOK):
        return f"notebooks/{Path(path).stem}.md"
    return f"source/{path}.md" if Path(path).suffix in SHOWN else path


def _path_of(place: str) -> str | None:
    """Where in the repository the Markdown of a page is; None of a page that shows code or a notebook."""
    if place == "index.md":
        return HOME
    if place.startswith(("source/", "notebooks/")):
        return None
    return DOCS + place if (ROOT / DOCS / place).is_file() else place


def _targets(text: str, path: str) -> Iterator[str]:
    """The files of the repository to which a Markdown file links. OSError for one that is not there."""
    found: list[str] = []
    _outside_code(text, lambda line: found.extend(each[1] for each in _LINK.finditer(line)) or line)
    for link in found:
        target = _resolved(link, path)
        if target is not None:
            yield target


def _resolved(link: str, path: str) -> str | None:
    """The file of the repository that a link means; None where it is none that the site can hold."""
    target = posixpath.normpath(posixpath.join(posixpath.dirname(path), link))
    known = Path(target).suffix in {".md", NOTEBOOK, *SHOWN, *COPIED}
    return target if known and os.path.isfile(ROOT / target) else None


def _outside_code(text: str, change: Callable[[str], str]) -> str:
    """The text with every line changed that is in no fenced block."""
    lines, fence = [], ""
    for line in text.split("\n"):
        found = _FENCE.match(line)
        if found and fence in ("", found[1]):
            fence = "" if fence else found[1]
        lines.append(line if found or fence else change(line))
    return "\n".join(lines)
