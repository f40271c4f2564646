"""`harness survey`: the paper's human study on a data set of one's own: make it, score its answers, ask an attack."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.commands.common import (
    add_cache_options,
    add_command,
    add_data_options,
    add_device_option,
    path_type,
    print_result,
    print_written,
    registry_from,
)
from harness.errors import HarnessError
from harness.registry import parse_settings, why_not_ready
from harness.system.numbers import count
from harness.system.text import aligned, counted, one_line

if TYPE_CHECKING:
    from harness.registry import Entry, Registry
    from harness.study.agreement import Row, Said
    from harness.study.key import Key
    from harness.types import Splits


def add(subparsers: Any) -> None:
    text = "the paper's human study on your own data set: what do people and attacks recognise?"
    outer = subparsers.add_parser("survey", help=text, description=text)
    inner = outer.add_subparsers(title="commands", required=True)
    make = add_command(inner, "make", make_survey, "a questionnaire of 49 obfuscated images as one page, and its key")
    make.set_defaults(again="begins anew: nothing was written")
    make.add_argument("--out", type=path_type, required=True, metavar="DIR", help="the page: empty or not there yet")
    make.add_argument(
        "--key", type=path_type, metavar="FILE", help="the answers, to keep: outside of DIR (DIR.key.json beside it)"
    )
    make.add_argument("--seed", type=count("seed", 0), default=0, help="another seed makes another survey (0)")
    make.add_argument(
        "--paper-knobs",
        action="store_true",
        help="block and kernel as the paper prints them for 256 px, not scaled to the size of the images",
    )
    add_data_options(make)
    score = add_command(inner, "score", score_answers, "what people recognised, from their files", needs_scratch=False)
    score.add_argument("key", type=path_type, metavar="KEY", help="of the survey")
    score.add_argument("answers", type=path_type, nargs="+", metavar="ANSWERS", help="files that the page saved")
    score.add_argument(
        "--also", type=path_type, action="append", default=[], metavar="KEY", help="a further survey of the same images"
    )
    _out_option(score)
    ask = add_command(inner, "ask", ask_attack, "what an attack recognises in the same images")
    ask.add_argument("keys", type=path_type, nargs="+", metavar="KEY", help="of one survey or several")
    ask.add_argument("--attack", required=True, metavar="NAME", help="google_vision, timm_labels, cnn or another")
    ask.add_argument("-A", dest="attack_settings", action="append", default=[], metavar="KNOB=VALUE")
    ask.add_argument(
        "--dataset", type=path_type, metavar="DATA", help="what the survey was made of, for attacks that learn from it"
    )
    ask.add_argument("--seed", type=count("seed", 0), default=0, help="of the attack's random numbers (0)")
    add_device_option(ask)
    add_cache_options(ask)
    _out_option(ask)


def _out_option(to: argparse.ArgumentParser) -> None:
    to.add_argument(
        "--out", type=path_type, metavar="FILE", help="judgements of every image and source, which are calibrated from"
    )


def make_survey(args: argparse.Namespace) -> int:
    from harness.run.options import RunOptions, load_splits
    from harness.study import make
    from harness.study.key import SCALED
    from harness.system.device import use_threads

    registry = registry_from(args)
    out = Path(os.path.realpath(args.out))  # "." has no name
    key = args.key or out.parent / f"{out.name}.key.json"
    make.check_places(args.out, key, None if args.dataset in registry.section("datasets") else Path(args.dataset))
    use_threads()
    options = RunOptions(**{name: getattr(args, name) for name in ("dataset", "size", "limit", "public_share")})
    options.check()
    splits = load_splits(options, registry)
    survey = make.make(splits, options.data_request(registry), registry, args.seed, paper_knobs=args.paper_knobs)
    size = make.write(survey, args.out, key)
    made, page = survey.key, args.out / make.PAGE
    document = {
        "page": str(page),
        "key": str(key),
        "survey": made.survey,
        "questions": len(made.questions),
        "pairs": sum(len(each.classes) for each in made.questions),
        "classes": list(made.classes),
        "height": made.size[0],
        "width": made.size[1],
        "knobs": made.knobs,
        "reused": survey.reused,
    }
    knobs = "scaled from 256 px" if made.knobs == SCALED else "as the paper prints them"
    lines = [
        f"{one_line(str(page))}: survey {made.survey}, {len(made.questions)} questions on {len(made.classes)} classes, "
        f"{size / 1e6:.1f} MB",
        f"images of {made.size[1]} x {made.size[0]} px, block and kernel {knobs}",
        f"{one_line(str(key))}: keep it to yourself, scoring needs it",
    ]
    if survey.reused:
        lines.insert(2, f"{counted(survey.reused, 'source')} of {document['pairs']} had to be used again: few images")
    print_written(args, document, "\n".join(lines), [page, key])
    print("harness: the page shows private images, obfuscated or (one of each class) as they are", file=sys.stderr)
    return 0


def score_answers(args: argparse.Namespace) -> int:
    from harness.study import answers, key
    from harness.study.agreement import Said
    from harness.study.judgements import PEOPLE

    registry = registry_from(args)
    _check_out(args.out, [args.key, *args.also, *args.answers])
    keys = [key.read(file) for file in (args.key, *args.also)]
    found = answers.read(args.answers, keys)
    said = [
        Said(of, question, person.person, PEOPLE, person.answers.get(question.id))
        for of, person in found
        for question in of.questions
    ]
    return _report(args, registry, keys, said, "person", [])


def ask_attack(args: argparse.Namespace) -> int:
    """Judgements by attacks; exit code 2 where one was skipped."""
    from harness.errors import Skipped
    from harness.study import ask, key
    from harness.system.device import choose_device, use_threads
    from harness.system.progress import ProgressDisplay

    registry = registry_from(args)
    attacks = registry.choose("attacks", args.attack.split(","), parse_settings(args.attack_settings))
    for attack in attacks:
        ask.check(attack)
    _check_out(args.out, args.keys)
    keys = [key.read(file) for file in args.keys]
    use_threads()
    splits = _data(args, registry, keys, attacks)
    said: list[Said] = []
    notes, skipped = [], []
    with ProgressDisplay() as watch:
        for attack in attacks:
            try:
                if reason := why_not_ready(attack):
                    raise Skipped(reason)
                some, lost = ask.ask(
                    keys,
                    attack,
                    registry,
                    splits,
                    seed=args.seed,
                    device=choose_device(args.device),
                    progress=watch.progress,
                )
            except Skipped as reason:
                skipped.append(f"{attack.name} was skipped: {str(reason).removeprefix(f'{attack.name}: ')}")
                continue
            said += some
            if lost:
                notes.append(
                    f"{attack.name}: {counted(lost, 'network')} learned nothing: they name the same class always"
                )
    for line in skipped:
        print(f"harness: {one_line(line)}", file=sys.stderr)
    if said:
        _report(args, registry, keys, said, "attack", notes)
    return 2 if skipped else 0


def _data(args: argparse.Namespace, registry: Registry, keys: Sequence[Key], attacks: Sequence[Entry]) -> Splits | None:
    """The data set, where an attack learns from it; loaded as for the first survey."""
    from harness.run.options import RunOptions, load_splits
    from harness.study import ask

    learned = [attack.name for attack in attacks if ask.needs_data(attack)]
    if not learned:
        return None
    if args.dataset is None:
        raise HarnessError(
            f"attack {learned[0]} learns from the data set that the survey was made of; give it with --dataset"
        )
    splits = load_splits(RunOptions(dataset=str(args.dataset), **keys[0].request), registry)
    ask.check_data(keys, splits)
    return splits


def _check_out(out: Path | None, read: Sequence[Path]) -> None:
    """HarnessError where the judgements cannot be written, or would replace a file that is read."""
    from harness.system.files import check_writable

    check_writable(out)
    if out and any(os.path.realpath(out) == os.path.realpath(file) for file in read):
        raise HarnessError(f"{out}: judgements would replace a file that they are made from; name another --out")


def _report(
    args: argparse.Namespace,
    registry: Registry,
    keys: Sequence[Key],
    said: Sequence[Said],
    who: str,
    notes: Sequence[str],
) -> int:
    """Print the table of agreement, and write the judgements where they are asked for."""
    from dataclasses import asdict

    from harness.study import judgements
    from harness.study.agreement import check_alike, judge, table

    check_alike(keys)
    rows = table(said)
    document: dict[str, Any] = {
        "surveys": [key.survey for key in keys],
        "dataset": keys[0].dataset,
        **{name: [asdict(row) for row in some] for name, some in rows.items()},
        "out": args.out and str(args.out),
    }
    lines = [*_lines("technique", rows["techniques"]), *_lines("", rows["all"])[1:], "", *_lines(who, rows["judges"])]
    lines += ["", *_LEGEND, *notes]
    if args.out:
        found, reasons = judge(keys, said, registry)
        judgements.write(found, args.out)
        document |= {"pairs": len(found.pairs), "judgements": len(found.judgements), "missing_metrics": reasons}
        lines.append(f"{one_line(str(args.out))}: {len(found.judgements)} judgements of {len(found.pairs)} pairs")
        for name, reason in reasons.items():
            words = reason.removeprefix(f"{name}: ")
            print(f"harness: judgements hold no {name}: {one_line(words)}", file=sys.stderr)
    print_result(args, document, "\n".join(lines))
    return 0


_LEGEND = (
    "recognised: share of an image's sources that were named, mean over images,",
    "with its 95 % interval (bootstrap over images). right: share of the named",
    'classes that are in the image. unsure: answered "I cannot tell". open: not',
    "answered, judged neither way. agree: share of pairs of judges who agree.",
)


def _lines(head: str, rows: Sequence[Row]) -> list[str]:
    """A table in plain text, with its head."""
    from harness.leaderboard.format import short

    cells = [[head, "images", "pairs", "recognised", "right", "unsure", "open", "agree"]]
    for row in rows:
        interval = "" if row.low is None else f" [{short(row.low)}, {short(row.high)}]"
        figures = [f"{row.images:,}", f"{row.pairs:,}", short(row.recognised) + interval, short(row.right)]
        cells.append([one_line(row.name), *figures, f"{row.cannot_tell:,}", f"{row.open:,}", short(row.agree)])
    return aligned(cells, left=_TEXTS, least=_WIDTHS)


_WIDTHS = (12, 6, 5, 17, 5, 6, 4, 5)
_TEXTS = (0, 3)
