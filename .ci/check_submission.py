"""Check plugins as the workflow `validate` does: the contract tests, then a small suite of runs (a minute for each).

    python .ci/check_submission.py --registry fade.yaml     # every plugin of a registry file of one's own
    python .ci/check_submission.py --since main             # those of registry.yaml that changed since a commit
    python .ci/check_submission.py fade                     # by name

Exit code 0: all passed; 1: one did not, with its reason; 2: wrong usage. The figures are of 60 images and say nothing
about privacy; they show that the plugin runs with others.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

TREE = Path(__file__).resolve().parent.parent
HARNESS = [sys.executable, "-P", "-m", "harness"]
KINDS = {"defenses": "defense", "attacks": "attack", "metrics": "metric"}
SMALL: dict[str, Any] = {"dataset": "photos", "size": 32, "limit": 60, "targets": 60, "epochs": 2, "seeds": 1}
LINKING = {"multi_release": {"width": 8, "train_epochs": 1}}
SUITES: dict[str, dict[str, Any]] = {
    "defenses": {"attacks": ["look", "smooth", "random_other", "linear", "candidate_matching", LINKING]},
    "attacks": {"defenses": ["none", "mix", "noise_mix", "shuffle_mix"], "utility": False},
    "metrics": {"defenses": ["mix"], "attacks": ["look"], "utility": False},
}
"""What is run beside the plugin, by its section; of a defense the utility too."""


@dataclass
class Report:
    """What was found of one plugin.

    problems  why it does not pass, in one line each
    lines     what else a reader wants to see
    """

    section: str
    name: str
    problems: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


def main() -> int:
    args = _arguments()
    try:
        plugins = _asked(args)
    except (OSError, subprocess.CalledProcessError, ValueError) as error:
        print(f"check_submission: {getattr(error, 'stderr', None) or error}", file=sys.stderr)
        return 2
    if not plugins:
        print("no plugin is new or changed")
    reports = [check(section, name, args.registry) for section, name in plugins]
    text = "\n\n".join(map(_text, reports))
    if text:
        print(text)
    if args.summary:
        with args.summary.open("a", encoding="utf-8") as file:
            file.write(f"```\n{text or 'no plugin is new or changed'}\n```\n")
    return int(any(report.problems for report in reports))


def check(section: str, name: str, registry: Path | None) -> Report:
    """The contract tests of one plugin and, where they pass, its suite."""
    report = Report(section, name)
    more = ["--registry", str(registry)] if registry else []
    code, document, said = _harness(["validate", name, *more])
    findings = document.get("checks", [])
    report.problems += [f"{each['check']}: {each['why']}" for each in findings if not each["ok"]]
    report.lines.append(f"{sum(each['ok'] for each in findings)} of {len(findings)} contract tests passed")
    if code and not report.problems:
        report.problems.append(said or f"harness validate ended with {code}")
    if not report.problems and section in SUITES:
        _run_suite(report, more)
    return report


def _run_suite(report: Report, more: list[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="submission.") as scratch:
        file = Path(scratch) / "suite.yaml"
        suite = {**SMALL, **SUITES[report.section]}
        if report.section != "metrics":
            suite[report.section] = [report.name, *(["smooth"] if report.section == "attacks" else [])]
        file.write_text(yaml.safe_dump(suite), encoding="utf-8")
        code, document, said = _harness(["sweep", str(file), "--records", str(Path(scratch) / "records"), *more])
    cells = document.get("cells", [])
    mine = [cell for cell in cells if report.name in (cell["attack"], cell["defense"]) or report.section == "metrics"]
    failed = [cell for cell in cells if cell["status"] == "failed"]
    report.problems += [f"{cell['defense']} x {cell['attack']}: {cell['reason']}" for cell in failed]
    if code and not failed:
        report.problems.append(said or f"harness sweep ended with {code}")
    if mine and not report.problems and not any(cell["status"] == "ok" for cell in mine):
        reasons = dict.fromkeys(str(cell["reason"]) for cell in mine)
        report.problems.append(f"it ran nowhere: {'; '.join(reasons)}")
    if report.section == "metrics" and not report.problems:
        score = cells[0]["scores"].get(report.name, {})
        report.lines.append(f"of a release of mix: {score.get('mean')}")
        if score.get("mean") is None or not math.isfinite(score["mean"]):
            report.problems.append(f"it gave no number: {score.get('reason') or score.get('mean')}")
    for cell in mine:
        report.lines.append(f"{cell['defense']} x {cell['attack']}: {cell['status']}{_figures(cell)}")
    report.lines += [line for each in document.get("verdicts", []) for line in each["text"] if "Warning" in line]


def _figures(cell: dict[str, Any]) -> str:
    """dSSIM .62 -> .51, utility .30"""
    scores = {name: cell["scores"].get(name, {}).get("mean") for name in ("dssim", "attacked_dssim", "top1", "utility")}
    said = [f"{name} {value:.3f}" for name, value in scores.items() if value is not None]
    return f", {', '.join(said)}" if said else f" ({cell['reason']})"


def _harness(arguments: list[str]) -> tuple[int, dict[str, Any], str]:
    """Exit code, the document, and the last line of what it said."""
    done = subprocess.run(
        [*HARNESS, *arguments, "--json", "--quiet"], capture_output=True, text=True, env=_environment()
    )
    said = done.stderr.strip().splitlines()
    return done.returncode, json.loads(done.stdout or "{}"), said[-1] if said else ""


def _environment() -> dict[str, str]:
    """The harness of this checkout, also where another one is installed."""
    folders = [str(TREE), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}


def _asked(args: argparse.Namespace) -> list[tuple[str, str]]:
    """The plugins that are to be checked, as (section, name)."""
    now = _entries((args.registry or TREE / "registry.yaml").read_text(encoding="utf-8"))
    if args.since:
        before = _entries(_git("show", f"{args.since}:registry.yaml"))
        files = _git("diff", "--name-only", args.since, "--").split()
        files += _git("ls-files", "--others", "--exclude-standard").split()
        return [key for key, entry in now.items() if before.get(key) != entry or _file_of(entry) in files]
    if unknown := set(args.names) - {name for _, name in now}:
        raise ValueError(f"no plugin {', '.join(sorted(unknown))} in {args.registry or 'registry.yaml'}")
    return [key for key in now if not args.names or key[1] in args.names]


def _entries(text: str) -> dict[tuple[str, str], dict[str, Any]]:
    document = yaml.safe_load(text) or {}
    if not isinstance(document, dict):
        raise ValueError("a registry file is a table of sections")
    return {(section, name): entry for section, entries in document.items() for name, entry in (entries or {}).items()}


def _file_of(entry: dict[str, Any]) -> str:
    return f"{str(entry['use']).partition(':')[0].replace('.', '/')}.py"


def _git(*words: str) -> str:
    done = subprocess.run(["git", "-C", str(TREE), *words], capture_output=True, text=True, check=True)
    return done.stdout


def _text(report: Report) -> str:
    verdict = "does not pass" if report.problems else "passes"
    lines = [f"{KINDS.get(report.section, report.section)} {report.name}: {verdict}"]
    return "\n".join(
        [*lines, *(f"  FAILED {each}" for each in report.problems), *(f"  {each}" for each in report.lines)]
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="plugins (all of the registry file)")
    parser.add_argument("--registry", type=Path, metavar="FILE", help="a registry file of one's own (registry.yaml)")
    parser.add_argument("--since", metavar="COMMIT", help="those that are new or changed since this commit")
    parser.add_argument("--summary", type=Path, metavar="FILE", help="append what was found as Markdown")
    args = parser.parse_args()
    if args.since and (args.names or args.registry):
        parser.error("--since looks in registry.yaml for what changed; give neither names nor --registry with it")
    if not (args.since or args.names or args.registry):
        parser.error("name plugins, a --registry file, or a commit with --since")
    return args


if __name__ == "__main__":
    sys.exit(main())
