"""Defenses: one file per way of turning stacks of sources into images that may leave the client."""
