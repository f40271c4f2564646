"""Does `harness check` fail where something is weaker, and pass where nothing is?

    python experiments/check_power.py --work check_power/

In copies of this tree: clean reruns on other seeds, and one run for every fault in FAULTS, planted as an edit of a line
or two. Each is the command itself, and a failure is its exit code 3. They run a part of the suite on two seeds, and are
compared with that part of leaderboards/baseline, which has to be of the same code. Cells whose definitions an edit does
not touch are read from the records of the run without edits, as `harness check --records` does. Finished runs are kept
in --work; the same command continues from them; the tables go to leaderboards/check.md.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.check import suite as suites
from harness.check.baseline import copy_records, read
from harness.check.compare import compare
from harness.check.output import document, work_of
from harness.leaderboard.format import short
from harness.registry import load_registry
from harness.report.markdown import grid
from harness.report.run_summary import plan

TREE = Path(__file__).resolve().parent.parent
PARTS = ("harness", "defenses", "attacks", "evaluators", "registry.yaml")


@dataclass(frozen=True)
class Fault:
    """Edits of files, each (file, text that occurs once, replacement), and whether the check has to fail."""

    name: str
    edits: tuple[tuple[str, str, str], ...]
    fails: bool = True


_NOISE = ("defenses/noise_mix.py", "weights[:, 0], sigma / 255)")
_FLAT = "if trainee.steps >= least and fall < _LEAST_FALL and (learned or trainee.steps >= _SLOW * least):"
_COUNT = "    k = source_count(mixing)\n"
_SHUFFLE = "sources = sources[rng.permutation(len(sources))]"
_MORE = (*_NOISE, "weights[:, 0], 1.25 * sigma / 255)")
_RAISED = ("registry.yaml", "version: 2\n    params: {sigma: 20", "version: 3\n    params: {sigma: 20")
_HAAR = ("registry.yaml", "{c: 30.0,", "{c: 25.0,")
_DSSIM = 'for unrelated ones."\n    version: 1\n    higher_is: farther\n    params: {window: 11, sigma: '
_SSIM = ("registry.yaml", _DSSIM + "1.5,", _DSSIM + "1.2,")
_RELEASED = "obfuscate(self.scheme(defense), self._resident, private.labels, len(private.classes), key, self.device)"
_SHOWN = """
        if number == 2:
            made[0].images[::EVERY] = self.originals(made[1].dominant_rows[::EVERY])
        return made"""


def _leak(every: int) -> tuple[str, str, str]:
    """Release 2 of four shows one original in so many verbatim; a rehearsal, and every other release, is sound."""
    shown = _SHOWN.replace("EVERY", str(every))
    return "harness/client/client.py", f"return {_RELEASED}", f"made = {_RELEASED}{shown}"


_READ = "attacks/common/linear_classifier.py"
_LABELS = "labels_, units, folds_, first = (np.concatenate(column) for column in zip(*parts, strict=True))\n"
_WRONG = "    labels_ = numpy_generator(derive(key, 'wrong')).permutation(labels_)\n"
_STRENGTHS = "STRENGTHS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)"
_TRAINED = "learner.epoch(release.images, release.labels)"
_THIRD = "learner.epoch(release.images, torch.where(torch.arange(len(release)) % 3 == 0, 0, release.labels))"
_DERIVE = "from harness.randomness import derive"
_EVALUATED, _IN_TRAINING = "self.model.eval()", "self.model.train()"
_RATE = '"default": Recipe("adam", 1e-'

FAULTS = (
    Fault("a defense: the noise of `noise_mix` halved", ((*_NOISE, "weights[:, 0], sigma / 510)"),)),
    Fault("a leak: one release of four shows every original", (_leak(1),)),
    Fault("a leak: one release of four shows one original in twenty", (_leak(20),)),
    Fault(
        "an attack: trainings stop after some 40 steps",
        (("harness/train/convergence.py", _FLAT, "if trainee.steps >= 40:"),),
    ),
    Fault("`cnn` and `linear`: a permutation of the labels to learn from", ((_READ, _LABELS, _LABELS + _WRONG),)),
    Fault("`cnn` and `linear`: the strongest penalty alone", ((_READ, _STRENGTHS, "STRENGTHS = (1e-6,)"),)),
    Fault(
        "utility: evaluated in training mode",
        (("harness/train/learner.py", _EVALUATED, _IN_TRAINING),),
    ),
    Fault(
        "utility: wrong labels for a third of the images",
        (("evaluators/utility.py", _TRAINED, _THIRD), ("evaluators/utility.py", _DERIVE, f"import torch\n{_DERIVE}")),
    ),
    Fault("utility: a hundredth of the rate", (("harness/train/learner.py", f"{_RATE}3", f"{_RATE}5"),)),
    Fault("the order: mixtures are not shuffled", (("harness/mixing.py", _SHUFFLE, "rng.permutation(len(sources))"),)),
    Fault("a metric: HaarPSI's constant C 25 for 30", (_HAAR,)),
    Fault("a metric: SSIM's window narrowed, sigma 1.2 for 1.5", (_SSIM,)),
    Fault("privacy gained: a quarter more noise, no version raised", (_MORE,)),
    Fault("the same with the version of `noise_mix` raised", (_MORE, _RAISED), fails=False),
    Fault("a comment", (("harness/mixing.py", _COUNT, _COUNT.replace("\n", "  # how many\n")),), fails=False),
    Fault("nothing: the same code, the same seeds", (), fails=False),
)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--work", type=Path, required=True, help="folder for the copies and the finished runs")
    arguments.add_argument("--suite", type=Path, default=TREE / "experiments" / "check_power.yaml", help="what is run")
    arguments.add_argument("--whole", type=Path, default=suites.builtin_suite(), help="the suite it is a part of")
    arguments.add_argument(
        "--baseline", type=Path, default=TREE / "leaderboards" / "baseline", help="of the whole suite"
    )
    arguments.add_argument("--reruns", type=int, default=10, help="clean reruns, each on two other seeds (10)")
    arguments.add_argument("--workers", default="2")
    arguments.add_argument("--out", type=Path, default=TREE / "leaderboards" / "check.md")
    given = arguments.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    checks = Checks(given.work.resolve(), given.suite.resolve(), given.workers)
    checks.copy_baseline(given.baseline)
    first = sorted(FAULTS, key=lambda fault: bool(fault.edits))  # the records of the run without edits serve the others
    faults = {fault: checks.check(f"fault_{FAULTS.index(fault)}", "--seeds", "2", edits=fault.edits) for fault in first}
    faults = {fault: faults[fault] for fault in FAULTS}
    seeds = [(100 + 2 * number, 101 + 2 * number) for number in range(given.reruns)]
    reruns = {pair: checks.check(f"seeds_{pair[0]}", "--seeds", f"{pair[0]},{pair[1]}") for pair in seeds}
    given.out.write_text(page(reruns, faults, power(given.baseline, given.whole), given.suite.name, given.whole.name))
    print(f"wrote {given.out}")
    unexpected = [fault.name for fault, found in faults.items() if (found["code"] == 3) != fault.fails]
    unexpected += [f"seeds {pair}" for pair, found in reruns.items() if found["code"] != 0]
    if unexpected:
        sys.exit(f"not as it should be: {'; '.join(unexpected)}")


def power(baseline: Path, whole: Path) -> dict[str, Any]:
    """The comparison of a baseline with those of its records that a check of the suite would run again."""
    records = read(baseline)
    registry = load_registry(suites.own_registry(whole))
    again = {item["key"] for item in plan(suites.crosses(whole, registry, baseline, suites.choice(None)))}
    found = [record for record in records if record.spec.key in again]
    if len(found) < len(again):
        sys.exit(f"{baseline} is of other code; renew it with: harness check {baseline} --update")
    return document(compare(records, found), str(baseline))


@dataclass
class Checks:
    """Runs of `harness check` in copies of the tree, one after the other; finished ones are read from `work`."""

    work: Path
    suite: Path
    workers: str

    def copy_baseline(self, whole: Path) -> None:
        """The records of the suite's part."""
        if not (self.work / "baseline").is_dir():
            wanted = plan(suites.crosses(self.suite, load_registry(), whole, suites.all_seeds))
            keys = {item["key"] for item in wanted}
            records = [record for record in read(whole) if record.spec.key in keys]
            if len(records) < len(keys):
                sys.exit(
                    f"{whole} is of other code or lacks the suite's; renew it with: harness check {whole} --update"
                )
            (self.work / "baseline").mkdir()
            copy_records(records, whole, self.work / "baseline")

    def check(self, name: str, *options: str, edits: tuple[tuple[str, str, str], ...] = ()) -> dict[str, Any]:
        """Its document, its exit code and its CPU-seconds."""
        file = self.work / f"{name}.json"
        if not file.is_file():
            print(name, flush=True)
            tree, records = self._planted(edits), self.work / ("records" if edits else name)
            shutil.rmtree(records, ignore_errors=True)
            if edits:
                shutil.copytree(self.work / f"fault_{len(FAULTS) - 1}", records)
            command = [sys.executable, "-m", "harness.cli", "check", str(self.work / "baseline"), "--json"]
            command += ["--suite", str(self.suite), "--workers", self.workers, "--records", str(records), *options]
            environment = {"NUMBA_CACHE_DIR": str(self.work / "numba"), **os.environ, "PYTHONPATH": str(tree)}
            before = _cpu_seconds()
            done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
            result = {"code": done.returncode, "cpu": _cpu_seconds() - before, "said": done.stderr[-2000:]}
            if done.returncode not in (0, 1, 3):
                sys.exit(f"{name}: exit code {done.returncode}: {done.stderr[-2000:]}")
            file.write_text(json.dumps(result | {"document": json.loads(done.stdout)}))
        found: dict[str, Any] = json.loads(file.read_text())
        return found

    def _planted(self, edits: tuple[tuple[str, str, str], ...]) -> Path:
        """A fresh copy of the tree with the edits made."""
        tree = self.work / "tree"
        shutil.rmtree(tree, ignore_errors=True)
        tree.mkdir()
        for part in PARTS:
            source = TREE / part
            if source.is_dir():
                shutil.copytree(source, tree / part, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, tree / part)
        for file, before, after in edits:
            text = (tree / file).read_text()
            if text.count(before) != 1:
                sys.exit(f"{file} holds {text.count(before)} times: {before}")
            (tree / file).write_text(text.replace(before, after))
        return tree


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def page(
    reruns: dict[tuple[int, int], dict[str, Any]],
    faults: dict[Fault, dict[str, Any]],
    detectable: dict[str, Any],
    suite: str,
    whole: str,
) -> str:
    """leaderboards/check.md"""
    alarms = sum(found["code"] != 0 for found in reruns.values())
    caught = sum(found["code"] == 3 for fault, found in faults.items() if fault.fails)
    planted = sum(fault.fails for fault in faults)
    quiet = sum(found["code"] == 0 for fault, found in faults.items() if not fault.fails)
    seconds = sorted(found["cpu"] for found in reruns.values())
    took = f", {seconds[0]:.0f} to {seconds[-1]:.0f} CPU-seconds each" if seconds else ""
    lines = [
        "# What `harness check` finds",
        "",
        f"Made by `python experiments/check_power.py` on `{suite}`, a part of the suite `{whole}`, with two seeds. "
        f"{caught} of {planted} planted faults fail the check, {quiet} of {len(faults) - planted} harmless edits pass, "
        f"{alarms} of {len(reruns)} clean reruns on other seeds fail{took}. A figure fails where p, corrected after "
        "Holm for all of them, is below .05 and the change is larger than its tolerance. Cells whose definitions an "
        "edit does not touch were not run again.",
        "",
        "## Planted",
        "",
        *grid(
            (
                "planted",
                "exit code",
                "failing",
                "what",
                "verdicts that turned",
                "largest change, against its tolerance",
            ),
            [(fault.name, str(found["code"]), *_failures(found["document"])) for fault, found in faults.items()],
        ),
        "## Clean reruns, two seeds each",
        "",
        *grid(
            ("seeds", "exit code", "failing", "smallest p, Holm", "largest change over what could have been detected"),
            [(f"{a}, {b}", str(found["code"]), *_smallest_p(found["document"])) for (a, b), found in reruns.items()],
        ),
        "## What could have been detected",
        "",
        f"The smallest true change that a check of `{whole}` finds with 80 % power, by the spread of its baseline's "
        f"seeds and corrected for its {detectable['compared']} figures. Of accuracy, in every cell of the suite:",
        "",
        *grid(("cell", "score", "at least"), _trained(detectable)),
        "From defense to defense, of all that is compared:",
        "",
        *grid(("work", "score", "least", "most"), _power(detectable)),
    ]
    return "\n".join(lines).rstrip("\n") + "\n"


def _trained(document: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Of accuracy, which is noisiest: every cell."""
    found = [change for change in document["changes"] if change["score"] in ("top1", "utility")]
    return [(_cell(each), each["score"], short(each["detectable"])) for each in sorted(found, key=lambda c: c["cell"])]


def _failures(document: dict[str, Any]) -> tuple[str, str, str, str]:
    failed = [change for change in document["changes"] if change["failed"]]
    kinds = Counter(change["what"] for change in failed)
    moved = [change for change in failed or document["changes"] if change["change"] is not None and change["tolerance"]]
    most = max(moved, key=lambda change: abs(change["change"]) / change["tolerance"], default=None)
    largest = f"{_cell(most)}: {most['score']} {short(most['before'])} -> {short(most['after'])}" if most else "-"
    return (
        f"{len(failed)} of {document['compared']}",
        ", ".join(f"{what} ({number})" for what, number in kinds.most_common()) or "-",
        _verdicts(failed),
        largest if most and most["change"] else "none",
    )


def _cell(change: dict[str, Any]) -> str:
    """Its name with no settings but sigma: what tells the suite's two rows of `noise_mix` apart."""
    name, _, settings = change["cell"].partition(" (")
    return f"{name} ({settings.split()[0].rstrip(')')})" if settings else name


def _verdicts(failed: list[dict[str, Any]]) -> str:
    """noise_mix release: dssim, exposed"""
    turned: dict[str, list[str]] = {}
    for change in failed:
        if change["score"].startswith("verdict"):
            turned.setdefault(_cell(change), []).append(change["score"].split("(")[1].rstrip(")"))
    return "; ".join(f"{cell}: {', '.join(parts)}" for cell, parts in turned.items()) or "-"


def _smallest_p(document: dict[str, Any]) -> tuple[str, str, str]:
    figures = [change for change in document["changes"] if change["detectable"]]
    most = max(figures, key=lambda change: abs(change["change"]) / change["detectable"])
    least = min((change["p"] for change in document["changes"] if change["p"] is not None), default=None)
    share = abs(most["change"]) / most["detectable"]
    failed = sum(change["failed"] for change in document["changes"])
    return f"{failed} of {document['compared']}", short(least), f"{share:.2f} ({_cell(most)}: {most['score']})"


def _power(document: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    groups: dict[tuple[str, str], list[float]] = {}
    for change in document["changes"]:
        if change["detectable"] is not None:
            groups.setdefault((work_of(change["cell"]), change["score"]), []).append(change["detectable"])
    return [(*names, short(min(some)), short(max(some))) for names, some in sorted(groups.items())]


if __name__ == "__main__":
    main()
