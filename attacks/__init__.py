"""Attacks: one file per way of looking through a release; each gets an `Observation` and returns a `Guess`."""
