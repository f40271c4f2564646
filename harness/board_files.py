"""The files of each data set's boards: leaderboards/<dataset>.md, .csv and .json, all functions of the records."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from harness.atomic import write_whole
from harness.columns import as_json, csv_text, document
from harness.errors import HarnessError
from harness.leaderboard import Board
from harness.markdown import page


def texts(boards: Sequence[Board], folder: Path, records: Path | None = None) -> dict[Path, str]:
    """What each file in `folder` is to hold; pages link to the records by a path relative to the folder."""
    to = Path(os.path.relpath(records or folder / "records", folder)).as_posix()
    found = {}
    for name in dict.fromkeys(board.dataset["name"] for board in boards):
        mine = [board for board in boards if board.dataset["name"] == name]
        found[folder / f"{name}.md"] = page(mine, to)
        found[folder / f"{name}.csv"] = csv_text(mine)
        found[folder / f"{name}.json"] = as_json(document(mine)) + "\n"
    return found


def write(boards: Sequence[Board], folder: Path, records: Path | None = None) -> list[Path]:
    """Write them, each under a temporary name and then renamed; the paths."""
    made = texts(boards, folder, records)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in made.items():  # as UTF-8 with plain line ends, wherever this runs
            write_whole(path, lambda file, text=text: file.write(text.encode()))  # type: ignore[misc]
    except OSError as error:
        raise HarnessError(
            f"leaderboards folder {folder}: {error.strerror or error}; name another with --out"
        ) from None
    return list(made)
