"""Results of `harness tune` as text: a table on the terminal or a Markdown page, with every value that was tried."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from rich import box
from rich.console import Console
from rich.table import Table

from harness.errors import HarnessError
from harness.leaderboard.format import figure, settings, short
from harness.registry import Entry
from harness.report.markdown import grid
from harness.scores import label
from harness.system.text import as_text
from harness.system.text import markdown as text_in_markdown
from harness.tune.result import MeasuredValue, TuneOptions, TuneResult, setting_of
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
    "px: at 64 px a constant image has a dSSIM of about .8 to a photograph."
)


def title(splits: Splits, options: TuneOptions) -> str:
    """imagenette10_96, 500 private images of 96x96: dSSIM .660 or more (mean) under smooth, seed 0"""
    height, width = splits.size
    under = f" under {', '.join(attack.name for attack in options.attacks)}" if options.attacks else " of the release"
    end = "mean" if options.by == "mean" else "lower end of its interval"
    return (
        f"{splits.name}, {len(splits.private)} private images of {width}x{height}: {label(options.metric)}{under} "
        f"tuned to {short(options.target)} ({end}), seed {options.seed}"
    )


def cells(tuned: TuneResult, options: TuneOptions) -> Iterator[tuple[str, ...]]:
    """The lines of one defense under HEADS: one, and more for a second knob."""
    name, answer = tuned.defense.name, tuned.answer
    if tuned.status not in REACHES or answer is None:
        yield (name, "-", "-", f"{tuned.status}: {tuned.reason}", "-", "-", "-")
        return
    by_low = answer.score["low"] is not None and answer.score["low"] >= options.target
    reaches = "mean and low" if by_low else REACHES[tuned.status]
    neighbours = (_neighbour(each, str(tuned.knob), options) for each in tuned.neighbours)
    yield (name, _settings(answer.defense), figure(answer.score), reaches, *neighbours, str(answer.score["n"]))
    for second in tuned.then:
        yield from cells(second, options)


def _settings(defense: Entry, without: str | None = None) -> str:
    given = {**defense.params, "weights": (defense.mixing or {})["weights"]}
    return settings({name: value for name, value in given.items() if name != without})


def _neighbour(evaluation: MeasuredValue | None, knob: str, options: TuneOptions) -> str:
    """grid=13 .655; "under" where it falls short by less than the digits show."""
    if evaluation is None:
        return "-"
    mean = evaluation.score["mean"]
    under = "under " if mean < options.target and short(mean) == short(options.target) else ""
    return f"{setting_of(evaluation.defense, knob)} {under}{short(mean)}"


def show(found: Sequence[TuneResult], splits: Splits, options: TuneOptions, console: Console) -> None:
    """Print every value that was tried, then the table with the answers."""
    for tuned in _with_second_knobs(found):
        console.print(as_text(_headline(tuned)), style="bold", highlight=False)
        for line in _value_lines(tuned):
            console.print(as_text("  " + "  ".join(line)), highlight=False, soft_wrap=True)
    table = Table(
        title=as_text(title(splits, options)), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    table.add_column("defense", no_wrap=True)
    for head in (label(options.metric), *HEADS[3:-1]):
        table.add_column(head, overflow="fold")
    for tuned in found:
        for name, setting, mean, reaches, *neighbours, _ in cells(tuned, options):
            first = [name, *(f" {part}" for part in setting.split() if part != "-")]
            figures = [
                mean.replace(" [", "\n[").replace(", ", " "),
                reaches,
                *(each.partition("=")[2].replace(",", ",\n").replace(" ", "\n", 1) or each for each in neighbours),
            ]
            table.add_row(*map(as_text, ("\n".join(first), *figures)))
    console.print(table)
    for text in _warnings(found):
        console.print(as_text(f"Warning: {text}."), highlight=False)
    console.print(NOTES, style="dim", highlight=False, markup=False)


def _headline(tuned: TuneResult) -> str:
    """shuffle_mix, block at weights=0.75,0.25: the tuned knob and the other settings."""
    fixed = _settings(tuned.defense, without=tuned.knob)
    return f"{tuned.defense.name}, {tuned.knob}" + (f" at {fixed}" if fixed else "")


def _value_lines(tuned: TuneResult) -> list[tuple[str, str, str, str]]:
    """For every value: the setting, mean [low, high], n, and a mark where it is the answer."""
    names = [setting_of(each.defense, str(tuned.knob)) for each in tuned.evaluations]
    width = max(map(len, names), default=0)
    marks = {id(tuned.found): "<- least that reaches", id(None if tuned.found else tuned.maximum): "<- most"}
    return [
        (name.ljust(width), figure(each.score), f"n={each.score['n']}", marks.get(id(each), ""))
        for name, each in zip(names, tuned.evaluations, strict=True)
    ]


def _with_second_knobs(found: Sequence[TuneResult]) -> list[TuneResult]:
    """Every search that tried a value, second knobs after the first."""
    return [each for tuned in found for each in (tuned, *tuned.then) if each.evaluations]


def _warnings(found: Sequence[TuneResult]) -> list[str]:
    return [text for tuned in _with_second_knobs(found) for text in tuned.warnings]


def markdown(found: Sequence[TuneResult], splits: Splits, options: TuneOptions, records: str) -> str:
    """The page; every value links to its records, in the folder `records` relative to the page."""
    records = quote(records, safe="/._-~")
    lines = [f"# {text_in_markdown(title(splits, options))}", "", NOTES, ""]
    lines += grid(HEADS, [[text_in_markdown(c) for c in line] for tuned in found for line in cells(tuned, options)])
    lines += [f"Warning: {text_in_markdown(text)}.\n" for text in _warnings(found)]
    for tuned in _with_second_knobs(found):
        lines += [f"## {text_in_markdown(_headline(tuned))}", ""]
        links = [" ".join(f"[{key[:6]}]({records}/{key}.json)" for key in each.records) for each in tuned.evaluations]
        rows = [
            (*(text_in_markdown(part.strip()) for part in row), link)
            for row, link in zip(_value_lines(tuned), links, strict=True)
        ]
        lines += grid(("tried", "mean [95 % interval]", "n", "", "records"), rows)
    return "\n".join(lines)


def check_page(page: Path) -> None:
    """Refuse a page that cannot be written, before anything runs."""
    if page.suffix != ".md":
        raise HarnessError(f"page {page}: expected a name that ends in .md")
    if not page.parent.is_dir():
        raise HarnessError(f"page {page}: there is no folder {page.parent}; make it, or name another with --out")


def write(text: str, page: Path) -> None:
    """Write the page atomically."""
    temporary = page.with_name(f".{page.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text)
        temporary.replace(page)
    except OSError as error:
        raise HarnessError(f"page {page}: {error.strerror or error}; name another with --out") from None
    finally:
        temporary.unlink(missing_ok=True)
