"""What a command answers."""

from __future__ import annotations

SCORE = {"mean", "low", "high", "p5", "min", "n"}


def refused(answer, *words):
    """Exit 2, nothing on stdout, one line on stderr with these words."""
    code, out, err = answer
    assert (code, out) == (2, ""), err
    assert err.startswith("harness: ") and err.endswith("\n") and err.count("\n") == 1, err
    assert "Traceback" not in err
    for word in words:
        assert word in err
    return True
