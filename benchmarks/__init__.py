"""Speed compared with other libraries in one process: `python -m benchmarks`."""
