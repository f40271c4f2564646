"""A committed notebook as a page: its text, its code, and what it printed and drew when it was executed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_UNSTYLED = r"<style.*?</style>| border=\"1\" class=\"dataframe\""
"""What pandas says of how a table looks."""


def as_markdown(file: Path) -> str:
    """The cells in their order. A table is HTML as pandas wrote it, without its style; a picture stands in the page."""
    cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
    return "\n\n".join(part for cell in cells for part in _parts(cell)) + "\n"


def _parts(cell: Mapping[str, Any]) -> Iterator[str]:
    text = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        yield text
        return
    if text.strip():
        yield _fenced(text, "python")
    for output in cell.get("outputs", ()):
        yield _output(output)


def _output(output: Mapping[str, Any]) -> str:
    data = output.get("data", {})
    if "image/png" in data:
        picture = "".join(data["image/png"]).replace("\n", "")
        return f'<p><img alt="what the cell above drew" src="data:image/png;base64,{picture}"></p>'
    if "text/html" in data:
        html = re.sub(_UNSTYLED, "", "".join(data["text/html"]), flags=re.DOTALL)
        return "\n".join(line for line in html.splitlines() if line.strip())  # a blank line would end the block
    return _fenced("".join(output.get("text") or data.get("text/plain", "")), "text")


def _fenced(text: str, language: str) -> str:
    fence = "`" * max(3, 1 + max(map(len, re.findall(r"`+", text)), default=0))
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
