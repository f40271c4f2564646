"""Measure files and preview releases: one command each."""
