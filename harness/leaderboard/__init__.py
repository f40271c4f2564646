"""Records to rows, worst cases, ranks and verdicts: pure functions."""
