"""Files, device and progress: what knows nothing of the benchmark."""
