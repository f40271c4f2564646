"""A client's own release on disk, and the scoring of outside submissions."""
