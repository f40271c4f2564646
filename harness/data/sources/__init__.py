"""Data sets by name: where each one's images come from."""
