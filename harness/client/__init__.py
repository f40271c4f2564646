"""The client: the originals, their releases, and the observations that attacks get."""
