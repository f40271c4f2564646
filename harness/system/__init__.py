"""Files, locks, device, progress and downloads allowed or not; nothing here knows of the benchmark."""
