"""Evaluators: distances of images to their originals, success of attacks, utility of releases."""
