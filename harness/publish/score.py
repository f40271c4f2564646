"""Score an outside submission and record it as `external:NAME`.

The same evaluators score it as every attack, over the same originals: it enters a row's worst case and can lower it. It
is not a requirement of the row: an outside author need not submit for every seed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import torch

from harness.errors import HarnessError
from harness.leaderboard import attack_results
from harness.publish.challenge import Challenge
from harness.publish.submission import Submission
from harness.records import RunResult
from harness.registry import Entry
from harness.run.scoring import score
from harness.system.schema import shown
from harness.system.text import is_text
from harness.types import Guess

LONGEST_NAME, LONGEST_CITE = 200, 5_000
GRANTS = ("defense", "labels", "public", "releases")
"""What an author may declare that the attack was granted, beyond the images."""


def entry_of(name: str, submission: Submission, granted: Sequence[str], cite: str) -> Entry:
    """The attack as a registry entry."""
    unknown = [grant for grant in granted if grant not in GRANTS]
    if unknown:
        raise HarnessError(f"granted {shown(unknown[0])} is unknown; use {', '.join(GRANTS)}, with commas")
    if not name.strip() or len(name) > LONGEST_NAME or not is_text(name):
        raise HarnessError(f"name {shown(name)} is no name; use one like 'Doe 2027', of {LONGEST_NAME} letters at most")
    if len(cite) > LONGEST_CITE or not is_text(cite):
        raise HarnessError(f"cite {shown(cite)} is no line of text of {LONGEST_CITE:,} letters at most; shorten it")
    return Entry(
        f"{attack_results.EXTERNAL}:{name.strip()}",
        "attacks",
        "harness.run.scoring:score",
        params={"submission": submission.digest},
        traits=(attack_results.EXTERNAL,),
        granted=tuple(sorted(granted)),
        kind="reconstruction" if submission.candidates is not None else "recognition",
        cite=cite,
    )


def judge(challenge: Challenge, submission: Submission, entry: Entry, claimed: str | None = None) -> list[RunResult]:
    """Score a submission and write its record; for a published release also the record of the release, once.

    claimed  the hash of the release that its author made it for
    """
    for stated in filter(None, (claimed, submission.release)):
        if len(stated) < 8 or not challenge.hash.startswith(stated):
            raise HarnessError(
                f"the submission is for release {shown(stated)}, and this is {challenge.hash}; give that release"
            )
    bench, defense, seed = challenge.bench, challenge.defense, challenge.seed
    release = _release_record(challenge)
    start = time.perf_counter()
    candidates = None if submission.candidates is None else torch.from_numpy(submission.candidates)
    guess = Guess(candidates=candidates, scores=submission.scores)
    scores, arrays = score(bench.client, entry, guess, challenge.release, challenge.secret)
    facts = {"release": challenge.hash, "submission": submission.digest, "cite": entry.cite}
    spec = challenge.spec(bench.attack_spec(defense, entry, seed))
    result = RunResult(spec, "ok", None, scores, arrays, facts, time.perf_counter() - start)
    return [release, bench.records.write(replace(result, asked=bench.data_request))]


def _release_record(challenge: Challenge) -> RunResult:
    """The record of the release: made for a published one; a row's must exist, or the entry would be on no board."""
    bench, piece = challenge.bench, challenge.bench.release_piece(challenge.defense, challenge.seed)
    spec = challenge.spec(piece.spec)
    record = bench.records.find(spec)
    if record is None and not challenge.published:
        raise HarnessError(
            f"{bench.records.folder} holds no release of {challenge.defense.name} with these settings, seed "
            f"{challenge.seed} and {bench.targets} targets that this code has made; run that row first, or name its "
            "folder with --records"
        )
    return record or bench.records.write(replace(bench.do(piece), spec=spec))
