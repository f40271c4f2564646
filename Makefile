# Steps of .ci/run, in the current environment.

.PHONY: check test cases fuzz board bench site submission

FUZZ ?= 20000
SITE ?= site

check:          ## style, types and the direction of imports
	ruff check
	ruff format --check
	mypy
	lint-imports

test:           ## every test, in parallel
	pytest

cases:          ## inputs that once failed, as a table
	python -m tests.cases

fuzz:           ## FUZZ inputs at every door in this process, and 200 through the real command
	python -m tests.fuzz --count $(FUZZ)
	python -m tests.fuzz --count 200 --command

submission:     ## the checks of a submitted plugin: REGISTRY=fade.yaml, NAME=fade, or SINCE=main for what changed
	python .ci/check_submission.py $(NAME) $(if $(REGISTRY),--registry $(REGISTRY)) $(if $(SINCE),--since $(SINCE))

board:          ## write the tables under leaderboards/ from the records
	harness rank --records leaderboards/records

bench:          ## speed beside other libraries
	python -m benchmarks

site:           ## the documentation in SITE, with the leaderboard of the committed records below it
	LEADERBOARD=leaderboard/index.html NO_MKDOCS_2_WARNING=1 mkdocs build --strict --site-dir "$(abspath $(SITE))"
	harness site --records leaderboards/records --also leaderboards/fooled/records --home ../index.html \
		--registry experiments/fooled/registry.yaml --out "$(SITE)/leaderboard"
