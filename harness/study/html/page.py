"""The questionnaire as one HTML page that needs no other file; its Content-Security-Policy blocks every request.

Nothing on it says what an image was made of: images are pixels alone, in random order, under names that count them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from harness.report.html import page as report_page
from harness.study.key import SCALED, Key, as_text
from harness.study.plan import PAPER_SIZE
from harness.system.text import one_line

if TYPE_CHECKING:
    from harness.types import Array

PLACE = Path(__file__).parent
MINUTES = 10
"""What a survey should take, by the paper's introduction to its own."""


def render(key: Key, photos: Array) -> str:
    """The page of a survey.

    photos  (K, 3, H, W) uint8, one of each class
    """
    scripts = [_read("theme.js", report_page.PLACE), _read("survey.js")]
    environment = Environment(
        loader=FileSystemLoader(PLACE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    height, width = key.size
    classes = [{"name": name, "words": words(name)} for name in key.classes]
    asked = [{"id": question.id, "image": as_text(question.image)} for question in key.questions]
    data = {
        "survey": key.survey,
        "questions": [question.id for question in key.questions],
        "classes": list(key.classes),
        "width": width,
        "minutes": MINUTES,
    }
    page = environment.get_template("page.html").render(
        policy=report_page.policy(scripts),
        style=Markup(f"{_read('style.css', report_page.PLACE)}\n{_read('survey.css')}"),
        scripts=[Markup(script) for script in scripts],
        data=report_page.in_script(data),
        survey=key.survey,
        asked=asked,
        classes=[{**each, "photo": as_text(photo)} for each, photo in zip(classes, photos, strict=True)],
        height=height,
        width=width,
        minutes=MINUTES,
        scaled=key.knobs == SCALED,
        paper_size=PAPER_SIZE,
    )
    return page + "\n"


def words(name: str) -> str:
    """The name of a class as people read it: the folder `garbage_truck` is shown as `garbage truck`."""
    return one_line(name.replace("_", " ").strip() or name)


def _read(name: str, place: Path = PLACE) -> str:
    return (place / name).read_text(encoding="utf-8").strip()
