"""The command line: which arguments there are, and the exit code. What a command does is in harness.commands.

Exit codes: 0 done, 1 a cell failed, 2 wrong usage or input, 130 interrupted.
"""

from __future__ import annotations

import argparse
import logging
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from harness import __version__, commands
from harness.errors import HarnessError
from harness.offline import staying_offline


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    logging.basicConfig(level=logging.WARNING, format="harness: %(message)s", stream=sys.stderr)
    try:
        given = parser().parse_args(arguments)
        with staying_offline(getattr(given, "offline", False)):
            code: int = given.command(given)
        return code
    except HarnessError as error:
        print(f"harness: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"harness: interrupted; the same command {given.again}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0


def entry_point() -> NoReturn:
    sys.exit(main())


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise HarnessError(f"{message} (see {self.prog} --help)")


def parser() -> argparse.ArgumentParser:
    top = _Parser(prog="harness", description="Does an image-obfuscation scheme protect the pictures?")
    top.add_argument("--version", action="version", version=f"harness {__version__}")
    subparsers = top.add_subparsers(title="commands", required=True, parser_class=_Parser)

    run = _command(subparsers, "run", commands.run_cross, "obfuscate, attack, measure, record, and print the board")
    run.add_argument("--defense", required=True, help="a name, several with commas, or all")
    run.add_argument("--attack", required=True, help="a name, several with commas, or all")
    _data_options(run)
    run.add_argument("-D", dest="defense_settings", action="append", default=[], metavar="KNOB=VALUE")
    run.add_argument("-A", dest="attack_settings", action="append", default=[], metavar="KNOB=VALUE")
    run.add_argument(
        "--epochs",
        type=_epochs,
        default=[10],
        metavar="T[,T...]",
        help="releases, one training epoch each (10; the paper: 20); several, 1,2,5,10,20, for privacy left against T",
    )
    run.add_argument("--figure", type=Path, metavar="FILE", help="where that curve is drawn (in the records folder)")
    run.add_argument("--seeds", type=int, default=1, metavar="N", help="repeat with seeds 0 to N-1 (1)")
    run.add_argument("--targets", type=int, default=1000, metavar="N", help="originals that are scored (1000)")
    run.add_argument("--no-utility", dest="utility", action="store_false", help="train no model on the release")
    run.add_argument("--model", help="network of the utility model (resnet18)")
    run.add_argument("--recipe", help="its training: default or paper")
    run.add_argument("--device", default="auto", help="auto, cpu or cuda")
    run.add_argument("--threads", type=int, metavar="N", help="threads of torch and OpenCV (the cores)")
    run.add_argument("--records", type=Path, default=Path("results"), metavar="DIR", help="where records go (results/)")
    run.add_argument("--dry-run", action="store_true", help="print the plan and stop")

    obfuscate = _command(subparsers, "obfuscate", commands.obfuscate_folder, "a client's folder, released as PNG files")
    obfuscate.set_defaults(again="begins anew: nothing was released")
    obfuscate.add_argument("--defense", required=True, metavar="NAME")
    obfuscate.add_argument("-D", dest="defense_settings", action="append", default=[], metavar="KNOB=VALUE")
    obfuscate.add_argument("--dataset", type=Path, required=True, metavar="FOLDER", help="<class>/*, all of it private")
    obfuscate.add_argument("--epochs", type=_count, default=1, metavar="T", help="releases of every image (1)")
    obfuscate.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="what may leave: empty or not there yet"
    )
    obfuscate.add_argument(
        "--secret", type=Path, required=True, metavar="FILE", help="what must not: an .npz, not in DIR"
    )
    obfuscate.add_argument("--size", type=int, metavar="PIXELS", help="shorter side, then a centre crop")
    obfuscate.add_argument("--device", default="auto", help="auto, cpu or cuda")
    obfuscate.add_argument(
        "--seed", type=int, help="for tests alone: the randomness of everybody who gives this number"
    )

    preview = _command(
        subparsers, "preview", commands.preview_sheet, "one PNG: images by defenses, with dSSIM and dHaar"
    )
    preview.add_argument("--defense", default="all", help="a name, several with commas, or all (all)")
    preview.add_argument("-D", dest="defense_settings", action="append", default=[], metavar="KNOB=VALUE")
    preview.add_argument("--attack", help="reconstructions under the releases, by one or several attacks with commas")
    preview.add_argument("--epochs", type=_count, default=10, metavar="T", help="releases that such an attack has (10)")
    preview.add_argument("--images", type=_count, default=6, metavar="N", help="rows (6)")
    preview.add_argument(
        "--out", type=Path, default=Path("preview.png"), metavar="FILE", help="the sheet (preview.png)"
    )
    preview.add_argument("--device", default="auto", help="auto, cpu or cuda")
    _data_options(preview, limit=200)

    listing = _command(subparsers, "list", commands.list_entries, "what the registry holds")
    listing.add_argument("section", nargs="?", choices=commands.SECTIONS)
    show = _command(subparsers, "show", commands.show_entry, "one entry, whole")
    show.add_argument("name")
    validate = _command(subparsers, "validate", commands.validate_plugin, "the contract tests, on any plugin")
    validate.add_argument("name")
    new = _command(subparsers, "new", commands.new_entry, "a plugin's file and registry entry, ready to edit")
    new.add_argument("kind", choices=("defense", "attack", "metric"))
    new.add_argument("name")
    new.add_argument("--folder", type=Path, default=Path(), help="where to write (here)")
    measure = _command(subparsers, "measure", commands.measure_files, "the metrics between two images or two folders")
    measure.add_argument("a", type=Path)
    measure.add_argument("b", type=Path)
    measure.add_argument("--metric", action="append", help="only these (all)")
    rank = _command(subparsers, "rank", commands.rank_records, "tables from records, printed and written")
    rank.add_argument("--records", type=Path, default=Path("results"), metavar="DIR", help="records (results/)")
    rank.add_argument("--out", type=Path, default=Path("leaderboards"), metavar="DIR", help="tables (leaderboards/)")
    return top


def _command(subparsers: Any, name: str, function: Any, text: str) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = subparsers.add_parser(name, help=text, description=text)
    made.set_defaults(command=function, again="continues where it stopped")
    made.add_argument("--json", action="store_true", help="one JSON document on stdout, everything else on stderr")
    made.add_argument("--registry", type=Path, action="append", default=[], metavar="FILE", help="layer this file over")
    return made


def _data_options(command: argparse.ArgumentParser, limit: int | None = None) -> None:
    command.add_argument("--dataset", default="photos", help="a name (harness list datasets) or a folder (photos)")
    fewest = f" ({limit})" if limit else ""
    command.add_argument(
        "--limit",
        type=int,
        default=limit,
        metavar="N",
        help=f"private images at most, other roles in proportion{fewest}",
    )
    command.add_argument("--size", type=int, metavar="PIXELS", help="shorter side, then a centre crop")
    command.add_argument("--public-share", type=float, metavar="SHARE", help="the adversary's share of train; 0: none")
    command.add_argument("--offline", action="store_true", help="download nothing; what is missing is named")


def _count(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,9}", text.strip()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no count; use a whole number, 1 or more")
    return int(text)


def _epochs(text: str) -> list[int]:
    """One T, or several that differ."""
    found: list[int] = []
    for part in text.split(","):
        if not re.fullmatch(r"-?[0-9]{1,9}", part.strip()):
            raise argparse.ArgumentTypeError(f"epochs {part!r} is no whole number; use 10, or several as 1,2,5,10")
        if int(part) < 1:
            raise argparse.ArgumentTypeError(f"epochs {int(part)} is too few; use 1 or more")
        if int(part) in found:
            raise argparse.ArgumentTypeError(f"epochs {int(part)} stands twice in {text!r}; name each once")
        found.append(int(part))
    return found


if __name__ == "__main__":
    entry_point()
