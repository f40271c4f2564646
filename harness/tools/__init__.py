"""`harness measure` compares files by the metrics; `harness preview` draws releases."""
