"""Attacks: one file per attack, helpers in sub-folders; each gets an `Observation` and returns a `Guess`."""
