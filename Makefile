# Steps of .ci/run, in the current environment.

.PHONY: check test board bench

check:          ## style, types and the direction of imports
	ruff check
	ruff format --check
	mypy
	lint-imports

test:           ## every test, in parallel
	pytest

board:          ## write the tables under leaderboards/ from the records
	harness rank --records leaderboards/records

bench:          ## speed beside other libraries
	python -m benchmarks
