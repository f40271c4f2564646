"""Answers of a paid service in the user's cache folder: one small file per image, so that nothing is paid twice.

The key of an answer is the image's pixels (not its file, whose bytes depend on the version of zlib) and the question:
endpoint, API version, feature.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import uuid
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError
from harness.plugins.attacks.vision.synonyms import Label
from harness.system.files import cache_folder
from harness.types import Bytes

log = logging.getLogger("harness")


@dataclass(frozen=True)
class Answer:
    """The service's answer about one image.

    labels   the best first
    date     day of the answer (UTC), ISO format
    dropped  number of malformed labels: without description or finite score
    """

    labels: tuple[Label, ...]
    date: str
    dropped: int = 0


def key_of(image: Bytes) -> str:
    """(3, H, W) uint8 -> the file name of its answer, a SHA-256 in hex."""
    pixels = image.permute(1, 2, 0).contiguous().cpu().numpy()
    return hashlib.sha256(f"{pixels.shape} ".encode() + pixels.tobytes()).hexdigest()


@dataclass(frozen=True)
class Cache:
    """The answers to one question, such as "vision.googleapis.com v1 LABEL_DETECTION 10"."""

    question: str

    def find(self, key: str) -> Answer | None:
        """The cached answer, or None; warns of a damaged file. HarnessError where the folder cannot be read."""
        file = self._file(key)
        try:
            stored = json.loads(file.read_text())
            labels = tuple(Label(str(text), float(score)) for text, score in stored["labels"])
            return Answer(labels, *_date_and_dropped(stored))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unusable(error) from error
        except (ValueError, KeyError, TypeError) as error:
            log.warning("cached answer %s is damaged (%s); it is asked for again", file, type(error).__name__)
            return None

    def keep(self, key: str, answer: Answer) -> None:
        """Store an answer, atomically. HarnessError where the folder cannot be written."""
        file = self._file(key)
        labels = [[label.text, label.score] for label in answer.labels]
        stored = {"question": self.question, "date": answer.date, "dropped": answer.dropped, "labels": labels}
        temporary = file.with_name(f"{file.name}.{uuid.uuid4().hex[:8]}.tmp")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(stored, allow_nan=False))
            os.replace(temporary, file)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise _unusable(error) from error

    def check_writable(self) -> None:
        """HarnessError where the folder cannot be written, before anything is paid for."""
        self.keep("0" * 64, Answer((), ""))
        self._file("0" * 64).unlink(missing_ok=True)

    def _file(self, key: str) -> Path:
        folder = re.sub(r"[^A-Za-z0-9.]+", "-", self.question)
        return cache_folder() / "vision" / folder / key[:2] / f"{key}.json"


def _unusable(error: OSError) -> HarnessError:
    reason = error.strerror or str(error)
    return HarnessError(
        f"cannot keep paid answers in the user's cache folder: {reason}; free some space or set XDG_CACHE_HOME"
    )


def _date_and_dropped(stored: dict[str, object]) -> tuple[str, int]:
    date, dropped = stored["date"], stored["dropped"]
    if not isinstance(date, str) or not isinstance(dropped, int):
        raise ValueError("no date")
    return date, dropped
