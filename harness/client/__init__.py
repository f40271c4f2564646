"""The private side: the originals, their releases, and what an adversary is handed."""
