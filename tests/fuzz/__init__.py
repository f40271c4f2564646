"""Generated and mutated inputs at every door: `make fuzz FUZZ=20000`, and a short run of each in the tests.

`mutations` damages bytes and values, `targets` says what comes in at which door, `campaign` runs many inputs in child
processes with limits on time and memory, `test_fuzz` a few of them under Hypothesis, which shrinks what it finds.
"""
