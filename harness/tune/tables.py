"""What `harness tune` found, as text: a table on the terminal or a Markdown page, and under it every value tried."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from harness.errors import HarnessError
from harness.leaderboard.format import figure, settings, short
from harness.registry import Entry
from harness.report.terminal import grid
from harness.scores import label
from harness.tune.result import Evaluation, Goal, Tuned, setting_of
from harness.types import Splits

HEADS = ("defense", "setting", "mean [95 % interval]", "reaches", "next less", "next more", "n")
REACHES = {
    "reached": "mean",
    "cannot reach": "cannot reach; this is the most",
    "stopped": "not yet; this is the most that was tried",
}
NOTES = (
    "The least obfuscation whose figure was at or above the target; next less and next more: what was tried beside it "
    "(of a knob with steps, the next value that suits the images). A board's *passes* asks the lower end of the "
    "interval to reach, on any source as well: --by low tunes to that end. Bootstrap over n originals, one seed: the "
    "intervals do not hold what another pairing or noise would do. The paper's thresholds are of a survey at 96 to 256 "
    "px: at 64 px a blank grey image has dSSIM .80 to a photograph."
)


def title(splits: Splits, goal: Goal) -> str:
    """imagenette10_96, 500 private images of 96x96: dSSIM .660 or more (mean) under smooth, seed 0"""
    height, width = splits.size
    under = f" under {', '.join(attack.name for attack in goal.attacks)}" if goal.attacks else " of the release"
    end = "mean" if goal.by == "mean" else "lower end of its interval"
    return (
        f"{splits.name}, {len(splits.private)} private images of {width}x{height}: {label(goal.metric)}{under} tuned "
        f"to {short(goal.target)} ({end}), seed {goal.seed}"
    )


def cells(tuned: Tuned, goal: Goal) -> Iterator[tuple[str, ...]]:
    """The lines of one defense under HEADS: one, and others for a second knob."""
    name, answer = tuned.defense.name, tuned.answer
    if tuned.status not in REACHES or answer is None:
        yield (name, "-", "-", f"{tuned.status}: {tuned.reason}", "-", "-", "-")
        return
    by_low = answer.score["low"] is not None and answer.score["low"] >= goal.target
    reaches = "mean and low" if by_low else REACHES[tuned.status]
    beside = (_beside(each, str(tuned.knob), goal) for each in tuned.neighbours)
    yield (name, _settings(answer.defense), figure(answer.score), reaches, *beside, str(answer.score["n"]))
    for second in tuned.then:
        yield from cells(second, goal)


def _settings(defense: Entry, without: str | None = None) -> str:
    given = {**defense.params, "weights": (defense.mixing or {})["weights"]}
    return settings({name: value for name, value in given.items() if name != without})


def _beside(evaluation: Evaluation | None, knob: str, goal: Goal) -> str:
    """grid=13 .655; what falls short by less than is shown is under it."""
    if evaluation is None:
        return "-"
    mean = evaluation.score["mean"]
    under = "under " if mean < goal.target and short(mean) == short(goal.target) else ""
    return f"{setting_of(evaluation.defense, knob)} {under}{short(mean)}"


def show(found: Sequence[Tuned], splits: Splits, goal: Goal, console: Console) -> None:
    """Every value that was tried, then the table: the last on the screen is the answer."""
    for tuned in _with_seconds(found):
        console.print(_headline(tuned), style="bold", highlight=False, markup=False)
        for rung in _ladder(tuned):
            console.print("  " + "  ".join(rung), highlight=False, markup=False, soft_wrap=True)
    table = Table(title=title(splits, goal), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("defense", no_wrap=True)
    for head in (label(goal.metric), *HEADS[3:-1]):
        table.add_column(head, overflow="fold")
    for tuned in found:
        for name, setting, seen, reaches, *beside, _ in cells(tuned, goal):
            sign = [name, *(f" {part}" for part in setting.split() if part != "-")]
            figures = [
                seen.replace(" [", "\n[").replace(", ", " "),
                reaches,
                *(each.partition("=")[2].replace(",", ",\n").replace(" ", "\n", 1) or each for each in beside),
            ]
            table.add_row("\n".join(sign), *figures)
    console.print(table)
    for text in _warnings(found):
        console.print(f"Warning: {text}.", highlight=False, markup=False)
    console.print(NOTES, style="dim", highlight=False, markup=False)


def _headline(tuned: Tuned) -> str:
    """shuffle_mix block=8 weights=0.75,0.25: without the knob that is tuned."""
    fixed = _settings(tuned.defense, without=tuned.knob)
    return f"{tuned.defense.name}, {tuned.knob}" + (f" at {fixed}" if fixed else "")


def _ladder(tuned: Tuned) -> list[tuple[str, str, str, str]]:
    """Of every value: the setting, mean [low, high], n, and what marks it."""
    names = [setting_of(each.defense, str(tuned.knob)) for each in tuned.evaluations]
    width = max(map(len, names), default=0)
    marks = {id(tuned.found): "<- least that reaches", id(None if tuned.found else tuned.maximum): "<- most"}
    return [
        (name.ljust(width), figure(each.score), f"n={each.score['n']}", marks.get(id(each), ""))
        for name, each in zip(names, tuned.evaluations, strict=True)
    ]


def _with_seconds(found: Sequence[Tuned]) -> list[Tuned]:
    """Every search, the second knobs' after the first's."""
    return [each for tuned in found for each in (tuned, *tuned.then) if each.evaluations]


def _warnings(found: Sequence[Tuned]) -> list[str]:
    return [text for tuned in _with_seconds(found) for text in tuned.warnings]


def markdown(found: Sequence[Tuned], splits: Splits, goal: Goal, records: str) -> str:
    """The page; every value links to its records, in a folder relative to the page."""
    lines = [f"# {title(splits, goal)}", "", NOTES, ""]
    lines += grid(HEADS, [line for tuned in found for line in cells(tuned, goal)])
    lines += [f"Warning: {text}.\n" for text in _warnings(found)]
    for tuned in _with_seconds(found):
        lines += [f"## {_headline(tuned)}", ""]
        links = [" ".join(f"[{key[:6]}]({records}/{key}.json)" for key in each.records) for each in tuned.evaluations]
        rungs = [(*(part.strip() for part in line), link) for line, link in zip(_ladder(tuned), links, strict=True)]
        lines += grid(("tried", "mean [95 % interval]", "n", "", "records"), rungs)
    return "\n".join(lines)


def check_page(page: Path) -> None:
    """Refuse what cannot be written, before anything runs."""
    if page.suffix != ".md":
        raise HarnessError(f"page {page}: expected a name that ends in .md")
    if not page.parent.is_dir():
        raise HarnessError(f"page {page}: there is no folder {page.parent}; make it, or name another with --out")


def write(text: str, page: Path) -> None:
    """The whole page or none."""
    temporary = page.with_name(f".{page.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text)
        temporary.replace(page)
    except OSError as error:
        raise HarnessError(f"page {page}: {error.strerror or error}; name another with --out") from None
    finally:
        temporary.unlink(missing_ok=True)
