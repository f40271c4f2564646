# The same steps as .ci/run, in the environment at hand.

.PHONY: check test board bench

check:          ## style, types, and which way imports point
	ruff check
	ruff format --check
	mypy
	lint-imports

test:           ## every test
	pytest

board:          ## the tables under leaderboards/, from the records
	harness rank --records leaderboards/records

bench:          ## speed, side by side with peers
	python -m benchmarks
