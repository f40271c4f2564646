"""How many originals are named for certain: an adversary who answers only where it is clear is right about them.

A share of re-identified originals may be small because few are shown, each of them plainly. How clear an answer is says
who they are: its margin, by which the first score in the gallery exceeds the second. Where nothing is seen, an answer
is right by chance, one in G, whatever its margin is.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import binom

from harness.types import Array, Scores

RIGHT = 0.75  # of the clearest answers, at least
LEVEL = 1e-7  # of that by chance, times the number of answers
BEYOND = 4.0  # times the margin of every wrong answer
WRONG = 50  # wrong answers with a margin, at least, for a right one to be beyond them


def certain(scores: Scores, truth: Array, chance: float) -> int:
    """Of originals, each with one answer; the larger of two counts.

    * The right ones among the clearest m answers, for the largest m of which three in four are right and which chance
      gives with a (binomial) probability below 1e-7 / n. No assumption on the scores; it takes about four originals.
    * The right ones with more than four times the margin of every wrong one, where at least 50 wrong ones have a
      margin. Under chance the clearest answer of all is right once in G, and that far beyond the next much less often.

    scores  (n, G)
    truth   (n,) column of the original of each row
    chance  of a random answer
    """
    if not len(scores) or scores.shape[1] < 2:
        return 0
    top = scores.topk(2, 1)
    margin = (top.values[:, 0].double() - top.values[:, 1].double()).cpu().numpy()
    right = (top.indices[:, 0].cpu().numpy() == truth) & (margin > 0)
    order = np.lexsort((right, -margin))  # of equal margins the wrong ones first
    hits, answers = right[order].cumsum(), 1 + np.arange(len(right))
    clear = (hits >= RIGHT * answers) & (len(right) * binom.sf(hits - 1, answers, chance) < LEVEL)
    wrong = margin[~right & (margin > 0)]
    beyond = int((right & (margin > BEYOND * wrong.max())).sum()) if len(wrong) >= WRONG else 0
    return max(int(hits[clear].max(initial=0)), beyond)
